"""Looks for seeds: which world shows a planted bug, and how little of a world still fails."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulators.world.faults import Fault, Mix, draw, only
from simulators.world.plants import Plant
from simulators.world.world import Story, World, story_of

RUNS_MAX = 60
"""Worlds that are lived through to make one failure smaller."""


@dataclass(frozen=True)
class Case:
    """A world that can be lived through again."""

    seed: int
    mix: Mix
    story: Story

    def failure(self, plant: Plant | None = None) -> str | None:
        """What did not hold; None when all did."""
        try:
            World(self.seed, self.mix, self.story, plant or Plant()).run()
        except AssertionError as error:
            return str(error) or "an assertion of a core failed"
        return None

    def __str__(self) -> str:
        """In words: the faults with their strengths, and what is left of the story."""
        faults = ", ".join(f"{fault} {strength:g}" for fault, strength in self.mix.items()) or "no fault"
        story = self.story
        parts = [f"{story.kiosks} kiosks", f"{len(story.documents)} documents", f"{len(story.jobs)} jobs"]
        parts += [f"{len(story.updates)} updates"] if story.updates else []
        parts += [f"a sitting of {len(story.sitting)} changes"] if story.sitting else []
        parts += [f"{len(story.wishes)} wishes"] if story.wishes else []
        parts += [f"certificates of {story.life_s:g} s"] if story.life_s else []
        return f"{faults}; {', '.join(parts)}, {story.samples} samples"


def of_seed(seed: int, faults: Sequence[Fault] | None = None) -> Case:
    """The world of a seed, or the same story with exactly these `faults`."""
    if faults is None:
        return Case(seed, draw(random.Random(f"{seed} mix")), story_of(seed))
    return Case(seed, only(faults, random.Random(f"{seed} only")), story_of(seed))


def first_found(plant: Plant, seeds: Sequence[int], faults: Sequence[Fault] | None = None) -> int | None:
    """The first of `seeds` whose world shows the bug; with `faults`, by these alone."""
    return next((seed for seed in seeds if of_seed(seed, faults).failure(plant)), None)


def minimise(case: Case, plant: Plant | None = None) -> tuple[Case, str]:
    """A smaller world in which the same checker fails, and what it says; at most `RUNS_MAX` are tried."""
    failure = case.failure(plant)
    assert failure is not None, f"seed {case.seed} holds: there is nothing to make smaller"
    left = RUNS_MAX
    smaller = True
    while smaller and left > 0:
        smaller = False
        for candidate in _smaller(case):
            left -= 1
            found = candidate.failure(plant)
            if found is not None and _checker(found) == _checker(failure):
                case, failure, smaller = candidate, found, True
                break
            if left <= 0:
                break
    return case, failure


def _smaller(case: Case) -> Iterator[Case]:
    """One thing less, the greatest first."""
    story = case.story
    if story.sitting:
        yield replace(case, story=replace(story, sitting=()))
    if story.samples:
        yield replace(case, story=replace(story, samples=0))
    if story.updates:
        yield replace(case, story=replace(story, updates=()))
    if story.wishes:
        yield replace(case, story=replace(story, wishes=()))
    if story.life_s:
        yield replace(case, story=replace(story, life_s=0.0))
    if story.jobs:
        yield replace(case, story=replace(story, jobs=()))
    for fault in case.mix:
        yield replace(case, mix={other: value for other, value in case.mix.items() if other is not fault})
    if story.kiosks > 1:
        yield replace(case, story=replace(story, kiosks=story.kiosks - 1))
    for number in range(len(story.documents)):
        rest = story.documents[:number] + story.documents[number + 1 :]
        yield replace(case, story=replace(story, documents=rest))
    for number in range(len(story.wishes)):
        rest_of_wishes = story.wishes[:number] + story.wishes[number + 1 :]
        yield replace(case, story=replace(story, wishes=rest_of_wishes))
    for number in range(1, len(story.sitting) - 2, 2):
        rest_of = story.sitting[:number] + story.sitting[number + 2 :]
        yield replace(case, story=replace(story, sitting=rest_of))


def _checker(failure: str) -> str:
    return failure.partition(":")[0]
