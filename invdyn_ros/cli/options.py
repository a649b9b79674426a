"""Command-line words enter, a verb's checked options leave."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

import tyro


def parse(kind: Any, argv: Sequence[str] | None, verb: str, **how: Any) -> Any:
    """Fill a dataclass, or one of a union, from the command line.

    Args:
        kind: what tyro shall fill.
        argv: the words; None: those of the process.
        verb: name of the verb.
        **how: further options of `tyro.cli`.

    Raises:
        ValueError: a wrong, missing or unknown option, in one line.
    """
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(kind, args=argv, prog=f"invdyn {verb}", **how)
    except SystemExit as end:
        if not end.code:
            raise
        words = re.sub(r"[\u2500-\u257f]+", " ", told.getvalue())
        words = re.sub(r"\s+", " ", words).strip()
        raise ValueError(words or f"bad options; see invdyn {verb} --help") from None
