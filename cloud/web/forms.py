"""What people type into forms of more than one way."""

from cloud.errors import MalformedError


def rate_of(text: str) -> int | None:
    """Devices a minute, as typed; nothing means all at once.

    Raises:
        MalformedError: it is no whole number.
    """
    typed = text.strip()
    if not typed:
        return None
    if not typed.isascii() or not typed.isdigit():
        raise MalformedError("the rate is a whole number of devices a minute, or empty")
    return int(typed)
