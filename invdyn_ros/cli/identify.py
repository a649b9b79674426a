"""`invdyn identify WHAT`: identify physical parameters from recordings."""

from __future__ import annotations

import importlib
import sys

SUBJECTS = {
    "arm": "inertia and friction of a simulated arm: excite, record, identify, validate, export",
    "payload": "what an arm carries, from a recording without it and one with it",
}
"""Name -> summary. Subject NAME is the module `invdyn_ros.cli.identify_NAME`."""
USAGE = "usage: invdyn identify WHAT ...    ('invdyn identify WHAT --help' lists its options)"


def main(argv: list[str] | None = None) -> int:
    """Run the command of the first word and return the exit code.

    Raises:
        ValueError: an unknown subject, or a wrong option.
    """
    name, *words = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {key:<10} {text}" for key, text in SUBJECTS.items())]))
        return 0
    if name not in SUBJECTS:
        raise ValueError(f"cannot identify '{name}'; there is {', '.join(SUBJECTS)}")
    module = importlib.import_module(f"invdyn_ros.cli.identify_{name}")
    return int(module.main(words))
