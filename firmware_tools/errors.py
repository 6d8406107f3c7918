"""Errors of the firmware tools; each is one sentence, and a code of sysexits.h for programs."""

import os


class ToolError(Exception):
    """Parent of all: the command did not do what it was asked."""

    code = os.EX_SOFTWARE


class RefusedError(ToolError):
    """A file is not taken; the sentence says what is wrong with it and what to do."""

    code = os.EX_DATAERR


class UnreadableError(ToolError):
    """A file that was named cannot be read."""

    code = os.EX_NOINPUT


class UnwritableError(ToolError):
    """A file that was to be made cannot be written, or is there already."""

    code = os.EX_CANTCREAT
