"""`invdyn check-urdf`: check the description of an arm."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from invdyn_ros.cli.options import parse
from invdyn_ros.evaluation.arm_check import check_arm


@dataclass(frozen=True)
class CheckUrdfOptions:
    """Say what is made of a URDF, list its errors, and try what can be done with the arm."""

    file: tyro.conf.Positional[Path]
    """URDF, xacro file, or FILE.yaml of an arm."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code: 2 if the file has errors."""
    options: CheckUrdfOptions = parse(CheckUrdfOptions, argv, "check-urdf")
    check = check_arm(options.file)
    print(*check.lines, sep="\n", end="\n" if check.lines else "")
    for problem in check.problems:
        kind = "error" if problem.is_error else "warning"
        print(f"{kind}: {problem}", file=sys.stderr if problem.is_error else sys.stdout)
    for name, reason in check.able.items():
        print(f"{name}: {f'no, {reason}' if reason else 'yes'}")
    if not check.errors:
        return 0
    count = len(check.errors)
    print(
        f"invdyn check-urdf: {options.file} has {count} error{'s' if count > 1 else ''}",
        file=sys.stderr,
    )
    return 2
