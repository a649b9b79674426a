"""Columns of time and of episodes that are known by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from invdyn_ros.sources.column_units import without_unit

TIME_NAMES = (
    "time",
    "timestamp",
    "timestamps",
    "stamp",
    "stamps",
    "t",
    "times",
    "seconds",
    "elapsed",
    "elapsed_time",
    "rosbagtimestamp",
    "header_stamp",
    "field_header_stamp",
    "x_value",  # of LabVIEW
)
EPISODE_NAMES = (
    "episode",
    "episode_index",
    "episode_id",
    "episode_number",
    "trajectory",
    "trajectory_id",
    "traj",
    "traj_id",
    "rollout",
    "demo",
    "demo_id",
    "trial",
    "trial_id",
    "run",
    "run_id",
    "sequence_id",
    "segment_id",
)
TIME_SUFFIXES = "_(s|sec|secs|ms|us|ns)"
SECOND_NAMES, NANOSECOND_NAMES = ("sec", "secs"), ("nanosec", "nanosecs", "nsec", "nsecs")


def find_time(names: Iterable[str]) -> tuple[str, ...]:
    """Return the column of stamps, or those of seconds and nanoseconds; none if there are none."""
    plain = {_plain(name): name for name in reversed(list(names))}
    for known in TIME_NAMES:
        if known in plain:
            return (plain[known],)
    for name in plain:
        stem, _, last = name.rpartition("_")
        rest = [f"{stem}_{nanoseconds}".lstrip("_") for nanoseconds in NANOSECOND_NAMES]
        pair = [plain[other] for other in rest if other in plain]
        if last in SECOND_NAMES and pair:
            return plain[name], pair[0]
    for name in reversed(plain):
        if re.fullmatch(f"({'|'.join(TIME_NAMES)}){TIME_SUFFIXES}", name):
            return (plain[name],)
    return ()


def find_episode(names: Sequence[str]) -> str | None:
    """Return the column that numbers or names episodes, None if there is none."""
    plain = {_plain(name): name for name in reversed(names)}
    return next((plain[known] for known in EPISODE_NAMES if known in plain), None)


def _plain(name: str) -> str:
    """Return a name in lower case, with single underscores, without unit and marks around it."""
    return re.sub(r"[^a-z0-9]+", "_", without_unit(name).lower()).strip("_")
