"""Addresses that a request brings along."""

from urllib.parse import urlsplit

ADDRESS_LENGTH_MAX = 512


def local_address(wish: str, otherwise: str) -> str:
    """`wish`, if it is a path on this host, else `otherwise`; browsers read `\\` as `/`."""
    parts = urlsplit(wish.replace("\\", "/"))
    local = not parts.scheme and not parts.netloc and parts.path.startswith("/")
    plain = wish.isascii() and wish.isprintable() and len(wish) <= ADDRESS_LENGTH_MAX
    return wish if local and plain and not parts.path.startswith("//") else otherwise
