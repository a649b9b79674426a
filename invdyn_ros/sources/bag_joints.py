"""Rows of joint values from the joint states of a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from invdyn_ros.data.joint_states import JointStateParts, MissingJoints, OtherJoints

OTHER_JOINTS = "messages without these joints"
JOINED, UNMEASURED_ROWS = "messages joined with the next", "messages without a measured value"
MAX_UNMEASURED = 0.05  # of the messages may lack a quantity that the others have [-]


def joint_rows(
    states: Iterator[tuple[int, Any]], joints: tuple[str, ...], changes: Counter[str]
) -> list[tuple[np.ndarray, ...]]:
    """Return rows (stamp, position, velocity, effort) of some joints; unknown values are empty.

    Args:
        states: (log time [ns], message) pairs.
        joints: names of the joints.
        changes: the numbers of messages that give no row are subtracted here.

    Raises:
        ValueError: some of the joints are in no message, or a message is damaged.
    """
    rows, observed_names, stamps, parts = [], set(), [], JointStateParts(joints)
    for logged, message in states:
        observed_names.update(message.name)
        columns = (message.position, message.velocity, message.effort)
        try:
            values = parts.add(_nanoseconds(message), message.name, columns)
        except OtherJoints:  # other publishers, such as a gripper, use the same topic
            changes[OTHER_JOINTS] -= 1
            continue
        except MissingJoints as error:
            raise ValueError(
                f"no joint '{error.missing[0]}'; the message has {', '.join(message.name)}"
            ) from error
        if values is None:
            changes[JOINED] -= 1
            continue
        rows.append(values[1:])
        stamps.append((1e-9 * values.stamp, logged))
    if not rows:
        missing = [joint for joint in joints if joint not in observed_names]
        raise ValueError(
            f"no message has joint '{(missing or joints)[0]}'; there are "
            f"{', '.join(sorted(observed_names)) or 'none'}"
        )
    times = source_times(stamps)
    return [(time, *row) for time, row in zip(times, rows, strict=True)]


def measured_rows(
    rows: list[tuple[np.ndarray, ...]], changes: Counter[str]
) -> list[tuple[np.ndarray, ...]]:
    """Return the rows from the first measured positions on, with what most of them have.

    A controller publishes NaN until it has read an interface for the first time.
    """
    starts = (k for k, row in enumerate(rows) if not np.isnan(row[1]).any())
    first = next(starts, None)
    if first is None:
        raise ValueError("no message has measured positions of all joints")
    complete = rows[first:]
    for column in (2, 3):
        known = [row for row in complete if len(row[column])]
        if len(known) > (1 - MAX_UNMEASURED) * len(complete):
            complete = known
    changes[UNMEASURED_ROWS] -= len(rows) - len(complete)
    return complete


def source_stamp(message: Any) -> float:
    """Return the stamp in the header of a message [s]."""
    return 1e-9 * _nanoseconds(message)


def _nanoseconds(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def source_times(stamps: Sequence[tuple[float, int]]) -> np.ndarray:
    """Return the times (T,) [s] of messages from (stamp [s], log time [ns]) pairs.

    A source without a clock stamps all messages with zero; then the log times are returned.
    """
    stamp, logged = np.array(stamps, float).reshape(-1, 2).T
    return stamp if stamp.any() else 1e-9 * logged
