"""Command-line options of the verbs."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from invdyn_ros.config import parse_yaml
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.robots.registry import register_arm
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.source import arm_name


def parse(options: Any, argv: Sequence[str] | None, verb: str, **tyro_options: Any) -> Any:
    """Fill a dataclass, or one of a union of them, from the command line.

    Args:
        options: dataclass or union of dataclasses.
        argv: words of the command line; None: those of the process.
        verb: name of the verb.
        **tyro_options: further options of `tyro.cli`.

    Raises:
        ValueError: a wrong, missing or unknown option, or an output that exists, in one line.
    """
    errors = io.StringIO()
    words = _register_arms(sys.argv[1:] if argv is None else argv)
    try:
        with contextlib.redirect_stderr(errors):
            result = tyro.cli(options, args=words, prog=f"invdyn {verb}", **tyro_options)
    except SystemExit as exit_:
        if not exit_.code:
            raise
        text = re.sub(r"[\u2500-\u257f]+", " ", errors.getvalue())  # box drawing
        text = re.sub(r"\s+", " ", text).strip()
        text = re.sub(r"^Value error Error parsing \w+: ", "", text)
        raise ValueError(text or f"bad options; see invdyn {verb} --help") from None
    known = result[0] if isinstance(result, tuple) else result
    if isinstance(known, OutputOptions):
        known.check_outputs()
    return result


def first_word(
    argv: Sequence[str] | None, verb: str, noun: str, summaries: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Return the first word after a verb and the other words; `--help` lists the words there are.

    Args:
        argv: words after the verb; None: those of the process.
        verb: the verb.
        noun: what the word names.
        summaries: word -> summary.

    Raises:
        ValueError: another word, or none.
    """
    name, *words = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("-h", "--help"):
        width = max(map(len, summaries)) + 1
        print(f"usage: invdyn {verb} NAME ...    ('invdyn {verb} NAME --help' lists its options)")
        print("", *(f"  {key:<{width}} {text}" for key, text in summaries.items()), sep="\n")
        raise SystemExit
    if name not in summaries:
        raise ValueError(f"no {noun} '{name}'; there are {', '.join(summaries)}")
    return name, words


def robot_option(arm: str | None, urdf: Path | None) -> Robot | None:
    """Return the robot of the options --arm and --urdf, None if neither is given.

    Raises:
        ValueError: the arm is unknown, or the URDF is invalid.
    """
    return load_robot(arm_name(arm, urdf, ""), urdf) if arm or urdf else None


def override(values: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values of a config file, overridden by options of the command line.

    Args:
        values: field name -> plain value.
        arguments: `--field value`, `--field=value` or `--group.field value`; values as in YAML.

    Raises:
        ValueError: a word that is not an option, an option without a value, or a group name that
            is not the name of a group.
    """
    result = dict(values)
    words = [part for word in arguments for part in _split_option(word)]
    for option, text in zip(words[::2], [*words[1::2], None], strict=False):
        if not option.startswith("--") or text is None:
            raise ValueError(
                f"expected '--field value' with a field of the config file, got '{option}'"
            )
        *groups, name = option[2:].replace("-", "_").split(".")
        group_values = result
        for group in groups:
            group_values[group] = dict(_group(group_values, group, option))
            group_values = group_values[group]
        group_values[name] = parse_yaml(text, option)
    return result


def _register_arms(words: Sequence[str]) -> list[str]:
    """Return a command line with the names of arms where it has their files."""
    result: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--arm" and equals:
            word = f"{option}={register_arm(value)}"
        elif result and result[-1] == "--arm":
            word = register_arm(word)
        result.append(word)
    return result


def _split_option(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def _group(fields: Mapping[str, Any], name: str, option: str) -> Mapping[str, Any]:
    group = fields.get(name, {})
    if not isinstance(group, Mapping):
        raise ValueError(f"'{option}': {name} is a field, not a group of fields")
    return group
