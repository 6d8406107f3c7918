"""Errors of the firmware tools."""


class RefusedError(Exception):
    """A file is not taken; the sentence says what is wrong with it and what to do."""
