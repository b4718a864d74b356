"""What the exit codes of `pluginhost` mean."""

from __future__ import annotations

import click

NO = 1
WRONG_USAGE = 2
BROKEN_FILE = 3
INTERRUPTED = 130
PIPE_CLOSED = 141

HELP = """\b
Exit codes:
    0  done
    1  nothing could be run, 'doctor', 'gate' or 'lock --check' has found
       something, or what a --fail-on-... option asks about is so
    2  wrong usage: an option, a source or a plugin that there is not
    3  a file cannot be read or written, or is not a report
  130  interrupted (Ctrl-C)
  141  the reader of the output went away
"""


class WrongUsageError(click.ClickException):
    """What was asked for is not there, or makes no sense."""

    exit_code = WRONG_USAGE


class BrokenFileError(click.ClickException):
    """A file, or the output, cannot be read or written."""

    exit_code = BROKEN_FILE
