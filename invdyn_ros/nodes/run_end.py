"""End of a run: why it ended, and output that nobody reads any more."""

import os
import select
from contextlib import suppress


def read_end_reason() -> str:
    """Return why the launcher ends the run, from standard input; empty if it does not say."""
    with suppress(OSError, ValueError):  # standard input may be closed
        if not os.isatty(0) and select.select([0], [], [], 0)[0]:
            return os.read(0, 4096).decode(errors="replace").strip()
    return ""


def mute_closed_output() -> None:
    """Drop the output if nobody reads it any more; else a progress bar would raise an error."""
    for number in (1, 2):
        poll = select.poll()
        poll.register(number, 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
