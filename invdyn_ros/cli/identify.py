"""`invdyn identify NAME`: identify physical parameters from recordings."""

from __future__ import annotations

import importlib

from invdyn_ros.cli.options import first_word

SUBJECTS = {
    "arm": "inertia and friction of a simulated arm: excite, record, identify, validate, export",
    "payload": "what an arm carries, from a recording without it and one with it",
}
"""Name -> summary. Subject NAME is the module `invdyn_ros.cli.identify_NAME`."""


def main(argv: list[str] | None = None) -> int:
    """Run the command of the first word and return the exit code.

    Raises:
        ValueError: an unknown subject, or a wrong option.
    """
    name, words = first_word(argv, "identify", "subject", SUBJECTS)
    module = importlib.import_module(f"invdyn_ros.cli.identify_{name}")
    return int(module.main(words))
