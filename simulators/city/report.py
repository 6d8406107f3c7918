"""What the story found: one step after the other, each held or not, with a sentence."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class StepError(Exception):
    """A step did not hold; the text says what was wrong."""


@dataclass
class Step:
    """One step of the story."""

    name: str
    held: bool
    detail: str


@dataclass
class Report:
    """The file that `--report` asks for; counts stay None where the story did not come so far."""

    ok: bool = False
    seconds: float = 0.0
    broker: str = ""
    mtls: bool = False
    devices_enrolled: int = 0
    telemetry_points: int = 0
    documents_printed: int = 0
    documents_captured: int = 0
    caption_word_error: float | None = None
    transcript_word_error: float | None = None
    jobs_ended: int = 0
    processes_left: int | None = None
    steps: list[Step] = field(default_factory=list)

    async def step(
        self,
        name: str,
        within_s: float,
        do: Callable[[], Coroutine[Any, Any, str]],
        tell: Callable[[str], None],
    ) -> bool:
        """Do one step within its time; whatever goes wrong is written down and the story goes on."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                detail, held = await do(), True
        except TimeoutError:
            detail, held = f"did not end within {within_s:g} s", False
        except StepError as error:
            detail, held = str(error), False
        except Exception as error:  # noqa: BLE001 - a step that fails in any way is a step that did not hold
            detail, held = f"{type(error).__name__}: {error}", False
        self.steps.append(Step(name, held, detail))
        tell(f"{'held ' if held else 'FAILED'} {name} ({time.monotonic() - began:.1f} s): {detail}")
        return held

    def write(self, path: Path) -> None:
        """Write the file; `ok` is whether every step held and nothing was left."""
        self.ok = bool(self.steps) and all(step.held for step in self.steps) and self.processes_left == 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
