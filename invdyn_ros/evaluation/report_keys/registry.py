"""Keys of all kinds of reports, and their lookup in a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from invdyn_ros.evaluation.report_keys.benchmark_keys import BENCHMARK_KEYS
from invdyn_ros.evaluation.report_keys.model_keys import COMPARE_KEYS, EVALUATE_KEYS
from invdyn_ros.evaluation.report_keys.report_key import Keys, ReportKey
from invdyn_ros.evaluation.report_keys.run_keys import FLOATING_KEYS, GRASP_KEYS, TELEOP_KEYS

KeyPath = tuple[str, ...]
"""Names of a key from the outermost on; "[]" after a name stands for the items of its list."""

ORIGIN_KEYS = {
    "run": ReportKey("origin of the report"),
    "run.kind": ReportKey("kind of the report"),
    "run.command": ReportKey("command that wrote it"),
    "run.interrupted": ReportKey(
        "the command, or the training of the model, was stopped before its end; there only then",
        optional=True,
    ),
    "run.date": ReportKey("time at which it was written, UTC"),
    "run.cpu": ReportKey("processor"),
    "run.cores": ReportKey("processor cores that it could use"),
    "run.system": ReportKey("operating system"),
    "run.python": ReportKey("version of Python"),
    "run.version": ReportKey("version of this package"),
}

REPORT_KEYS: dict[str, Keys] = {
    "evaluate": {**ORIGIN_KEYS, **EVALUATE_KEYS},
    "compare": {**ORIGIN_KEYS, **COMPARE_KEYS},
    "teleop": {**ORIGIN_KEYS, **TELEOP_KEYS},
    "grasp_sim": {**ORIGIN_KEYS, **GRASP_KEYS},
    "gravity_compensation": {**ORIGIN_KEYS, **FLOATING_KEYS},
    **{f"benchmark {name}": {**ORIGIN_KEYS, **keys} for name, keys in BENCHMARK_KEYS.items()},
}
"""Kind of report -> its keys."""


def leaves(values: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield path and value of each value that is no mapping and no list of mappings."""
    if isinstance(values, Mapping) and (values or not path):
        for name, value in values.items():
            yield from leaves(value, (*path, str(name)))
    elif isinstance(values, list) and values and isinstance(values[0], Mapping):
        for value in values:
            yield from leaves(value, (*path[:-1], f"{path[-1]}[]"))
    else:
        yield path, values


def find_key(kind: str, path: KeyPath) -> ReportKey | None:
    """Return the meaning of a key, None if it has none.

    Args:
        kind: kind of report, a key of REPORT_KEYS.
        path: names of the key.
    """
    pattern = find_pattern(kind, path)
    return None if pattern is None else REPORT_KEYS[kind][pattern]


def find_pattern(kind: str, path: KeyPath) -> str | None:
    """Return the entry of REPORT_KEYS[kind] that a path belongs to, that with the fewest `*`.

    Args:
        kind: kind of report.
        path: names of the key.
    """
    matches = [
        ("".join(names).count("*"), pattern)
        for pattern, names in _patterns(kind)
        if _matches(names, path)
    ]
    return min(matches)[1] if matches else None


def _matches(pattern: KeyPath, path: KeyPath) -> bool:
    """Return whether a path is one of a pattern, whose last name `**` stands for any rest."""
    if pattern[-1] == "**" and len(path) >= len(pattern):
        pattern, path = pattern[:-1], path[: len(pattern) - 1]
    if len(pattern) != len(path):
        return False
    pairs = zip(pattern, path, strict=True)
    return all(a == b or a == "*" or (a == "*[]" and b.endswith("[]")) for a, b in pairs)


def undescribed_keys(kind: str, report: Mapping[str, Any]) -> list[str]:
    """Return the paths of the values of a report that have no description."""
    paths = dict.fromkeys(path for path, _ in leaves(report))
    return [".".join(path) for path in paths if find_pattern(kind, path) is None]


def unused_keys(kind: str, report: Mapping[str, Any]) -> list[str]:
    """Return the described keys that a report should have and has not."""
    paths = {path[:n] for path, _ in leaves(report) for n in range(1, len(path) + 1)}
    paths |= {(*path[:-1], path[-1].removesuffix("[]")) for path in paths}
    used = {find_pattern(kind, path) for path in paths}
    return [name for name, key in REPORT_KEYS[kind].items() if not key.optional | (name in used)]


@cache
def _patterns(kind: str) -> list[tuple[str, KeyPath]]:
    return [(pattern, tuple(pattern.split("."))) for pattern in REPORT_KEYS[kind]]
