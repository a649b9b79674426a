"""Runs of `invdyn collect`."""

from __future__ import annotations

from pathlib import Path

import pytest

from invdyn_ros.cli import run_verb

Capture = pytest.CaptureFixture[str]


def collect(out: Path, *arguments: object) -> int:
    return run_verb("collect", [*map(str, arguments), "--out", str(out)])


def refused(out: Path, capsys: Capture, *arguments: object) -> str:
    """Return the error line of a command that writes nothing."""
    before = sorted(out.parent.rglob("*"))
    assert collect(out, *arguments) == 2
    output = capsys.readouterr().err.strip()
    assert output.count("\n") == 0
    assert sorted(out.parent.rglob("*")) == before
    return output
