"""Rows of joint values from the messages of a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.data.joint_states import JointStateParts, MissingJoints, OtherJoints
from invdyn_ros.sources.bag_messages import JointMessage, nanoseconds
from invdyn_ros.sources.joint_mapping import mapping_remedy

OTHER_JOINTS = "messages without these joints"
JOINED, UNMEASURED_ROWS = "messages joined with the next", "messages without a measured value"
WITHOUT_EFFORT = "messages without a recent effort"
MAX_UNMEASURED = 0.05  # of the messages may lack a quantity that the others have [-]


class JointRow(NamedTuple):
    """Values of the joints of an arm at one time; unknown ones are empty.

    Attributes:
        time: [s].
        position: (n,) [rad].
        velocity: (n,) [rad/s].
        effort: (n,).
        logged: time at which the message was recorded [s].
    """

    time: float
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray
    logged: float


def joint_rows(
    states: Iterable[JointMessage],
    recorded: Sequence[str],
    changes: Counter[str],
    joints: Sequence[str] = (),
) -> list[JointRow]:
    """Return the values of some joints, one row for each message or pair of messages.

    Args:
        states: the messages.
        recorded: names of the joints in the recording.
        changes: the numbers of messages that give no row are subtracted here.
        joints: names of the joints of the arm; default: those in the recording.

    Raises:
        ValueError: some of the joints are in no message, or a message is damaged.
    """
    joints = joints or recorded
    rows, observed, stamps = [], dict[str, None](), []
    parts = JointStateParts(recorded)
    for message in states:
        observed.update(dict.fromkeys(message.names))
        try:
            values = parts.add(message.stamp, message.names, message.columns)
        except OtherJoints:  # other publishers, such as a gripper, use the same topic
            changes[OTHER_JOINTS] -= 1
            continue
        except MissingJoints as error:
            remedy = mapping_remedy(joints, recorded, message.names)
            raise ValueError(
                f"no joint '{error.missing[0]}'; the message has {', '.join(message.names)}"
                f"{remedy}"
            ) from error
        except ValueError as error:
            others = [name for name in message.names if name not in recorded]
            remedy = "".join(f" --ignore {name}" for name in others)
            raise ValueError(f"{error}" + (f"; try{remedy}" if others else "")) from error
        if values is None:
            changes[JOINED] -= 1
            continue
        rows.append(values[1:])
        stamps.append((1e-9 * values.stamp, message.logged))
    if not rows:
        missing = [name for name in recorded if name not in observed]
        remedy = mapping_remedy(joints, recorded, list(observed)) if observed else ""
        raise ValueError(
            f"no message has joint '{(missing or recorded)[0]}'; there are "
            f"{', '.join(sorted(observed)) or 'none'}{remedy}"
        )
    times = source_times(stamps)
    logged = 1e-9 * np.array([log for _, log in stamps], float)
    return [JointRow(*r) for r in zip(times, *zip(*rows, strict=True), logged, strict=True)]


def with_effort(
    rows: list[JointRow],
    efforts: Iterable[JointMessage],
    recorded: Sequence[str],
    changes: Counter[str],
    max_age: float,
) -> list[JointRow]:
    """Return rows with the effort that another topic had last at their time.

    Both times are those of the messages, or of the recorder if one has no stamps.

    Args:
        rows: states of the joints, in the order of time.
        efforts: messages of the other topic; without names they are in the order of the joints.
        recorded: names of the joints in the recording.
        changes: the number of rows without an effort is subtracted here.
        max_age: of an effort, beyond which it is not known [s].

    Raises:
        ValueError: no message has efforts of all these joints.
    """
    stamps, values = [], []
    for message in efforts:
        names = list(message.names or recorded)
        effort = np.asarray(message.columns[2], float)
        if set(recorded) <= set(names) and len(effort) == len(names):
            values.append(effort[[names.index(name) for name in recorded]])
            stamps.append((1e-9 * message.stamp, 1e-9 * message.logged))
    if not values:
        raise ValueError(f"the effort topic has no message with efforts of {', '.join(recorded)}")
    stamp, logged = np.array(stamps).T
    by_stamp = bool(stamp.all())
    time = stamp if by_stamp else logged
    order = np.argsort(time, kind="stable")
    at = np.array([row.time if by_stamp else row.logged for row in rows])
    last = np.searchsorted(time[order], at, side="right") - 1
    age = np.where(last < 0, np.inf, at - time[order][last])
    known = np.flatnonzero(age <= max_age)
    if not len(known):
        raise ValueError(
            f"no effort is at most {max_age:g} s older than a state; record both topics together"
        )
    changes[WITHOUT_EFFORT] -= len(rows) - len(known)
    return [rows[k]._replace(effort=values[order[last[k]]]) for k in known]


def measured_rows(rows: list[JointRow], changes: Counter[str]) -> list[JointRow]:
    """Return the rows from the first measured positions on, with what most of them have.

    A controller publishes NaN until it has read an interface for the first time.
    """
    starts = (k for k, row in enumerate(rows) if not np.isnan(row.position).any())
    first = next(starts, None)
    if first is None:
        raise ValueError("no message has measured positions of all joints")
    complete = rows[first:]
    for name in ("velocity", "effort"):
        known = [row for row in complete if len(getattr(row, name))]
        if len(known) > (1 - MAX_UNMEASURED) * len(complete):
            complete = known
    changes[UNMEASURED_ROWS] -= len(rows) - len(complete)
    return complete


def source_stamp(message: Any) -> float:
    """Return the stamp in the header of a message [s]."""
    return 1e-9 * nanoseconds(message)


def source_times(stamps: Sequence[tuple[float, int]]) -> np.ndarray:
    """Return the times (T,) [s] of messages from (stamp [s], log time [ns]) pairs.

    A source without a clock stamps all messages with zero; then the log times are returned.
    """
    stamp, logged = np.array(stamps, float).reshape(-1, 2).T
    return stamp if stamp.any() else 1e-9 * logged
