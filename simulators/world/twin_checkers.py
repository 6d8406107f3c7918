"""What must hold of twins in every world: each checker one sentence."""

from collections.abc import Iterator

from contract.twin import BY_PATH, difference, find, wrong
from simulators.world.scene import Checker, Scene
from simulators.world.twin import DEFAULTS


def versions_grow(scene: Scene) -> Iterator[str]:
    """The versions of a twin only grow, and a device never acts on an older one than it has acted on."""
    for device, versions in scene.cloud.twins.versions.items():
        if versions != sorted(set(versions)):
            yield f"the twin of {device} had the versions {versions}"
    for twin in scene.twins:
        if twin.acted_on != sorted(twin.acted_on):
            yield f"{twin.name} acted on the versions {twin.acted_on}"


def only_the_desired_is_done(scene: Scene) -> Iterator[str]:
    """A device sets nothing that was never desired of it and does not stand in its settings file."""
    for twin in scene.twins:
        desired = scene.cloud.twins.desired.get(twin.name, set())
        for path, value in sorted(twin.done - desired - set(DEFAULTS.items()), key=str):
            yield f"{twin.name} has set {'.'.join(path)} to {value!r}, which nobody desired"


def settings_survive(scene: Scene) -> Iterator[str]:
    """A restart brings back the settings that were written down."""
    for twin in scene.twins:
        yield from twin.forgotten


ALWAYS: tuple[Checker, ...] = (versions_grow, only_the_desired_is_done, settings_survive)


def twins_agree(scene: Scene) -> Iterator[str]:
    """In the end a device does, keeps and reports what is desired of it, as far as it can."""
    for device in scene.twins:
        twin = scene.cloud.twins.twins.get(device.name)
        if twin is None or not twin.exists:
            yield f"{device.name} has no twin"
            continue
        for path, setting in BY_PATH.items():
            name, wanted, doing = setting.name, find(twin.desired, path), device.doing[path]
            if find(twin.reported, path) != doing:
                yield f"{device.name} does {name} {doing}, and reports {find(twin.reported, path)}"
            if wanted is None and (doing != DEFAULTS[path] or path in device.kept):
                yield f"{device.name} does {name} {doing} and keeps {dict(device.kept)}; nothing is desired"
            if wanted is not None and not wrong(setting, wanted) and doing != wanted:
                yield f"{device.name} does {name} {doing}, and {wanted} is desired"
            if device.kept.get(path, DEFAULTS[path]) != doing:
                yield f"{device.name} does {name} {doing}, and keeps {dict(device.kept)}"
        left = difference(twin.desired, twin.reported)
        if bool(left) != bool(twin.reported.get("refused")):
            yield f"{device.name} leaves {left} open, and says {twin.reported.get('refused')}"


HEALED: tuple[Checker, ...] = (twins_agree,)
