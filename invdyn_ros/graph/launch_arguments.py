"""Declarations of launch arguments as text, and those that a command line gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

from invdyn_ros.graph.arguments import BOOLEAN_VALUES, CommonArguments


class LaunchArgument(NamedTuple):
    """Declaration of a launch argument, as text."""

    name: str
    default: str
    description: str
    type: str
    """Name of the type; empty if there are choices."""
    choices: tuple[str, ...]


def launch_arguments(arguments: type[CommonArguments]) -> Iterator[LaunchArgument]:
    """Yield the declarations of a graph's launch arguments."""
    for name, hint in get_type_hints(arguments, include_extras=True).items():
        value_type = get_args(hint)[0]
        choices = get_args(value_type) or (tuple(BOOLEAN_VALUES) if value_type is bool else ())
        default = str(getattr(arguments, name))
        if value_type is bool:
            default = default.lower()
        info = next(item for item in hint.__metadata__ if getattr(item, "description", None))
        kind = "" if choices else value_type.__name__
        yield LaunchArgument(name, default, info.description, kind, choices)


def given_arguments(words: Sequence[str], file: Path) -> dict[str, str]:
    """Return what the command line of `ros2 launch` gives to a launch file of this package.

    A launch file that includes it has arguments of its own on the command line.

    Args:
        words: the command line.
        file: the launch file.
    """
    for number, word in enumerate(words[1:], start=1):
        is_here = (words[number - 1], word) == ("invdyn_ros", file.name)
        if is_here or Path(word).absolute() == file.absolute():
            return dict(w.split(":=", 1) for w in words[number + 1 :] if ":=" in w)
    return {}
