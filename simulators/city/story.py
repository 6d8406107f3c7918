"""The story that `--once` plays."""

from simulators.city.city import City
from simulators.city.report import Report


async def play(city: City, report: Report) -> None:
    """Play it."""

    async def start() -> str:
        await city.start()
        return f"{len(city.children)} programs"

    await report.step("the city starts", 120, start, city.tell)
