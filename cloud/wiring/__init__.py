"""How each way of the cloud is put together: a file a way, in which its adapters are chosen.

In each file `make` makes the way of what it is handed. Where it has any, `topics` tells what it takes from
the broker, `pages_routers` and `device_routers` what it serves to people and to devices, `device_section`
what the page of a device shows of it, and `chores` what it does again and again. Only `cloud.main` calls
them, in the order in which things must start.
"""

from cloud.wiring import (
    assembly,
    captions,
    devices,
    documents,
    enrolment,
    jobs,
    link,
    operators,
    recordings,
    telemetry,
    twin,
    updates,
)

__all__ = [
    "assembly",
    "captions",
    "devices",
    "documents",
    "enrolment",
    "jobs",
    "link",
    "operators",
    "recordings",
    "telemetry",
    "twin",
    "updates",
]
