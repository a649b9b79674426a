"""Messages of a recording that hold the states of joints, whatever their type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.sources.bag_files import (
    CONTROLLER_STATE_MESSAGE,
    DYNAMIC_STATE_MESSAGE,
    JOINT_STATE_MESSAGE,
    MissingTopic,
    topic_messages,
    topics,
)

TRAJECTORY_MESSAGE = "trajectory_msgs/msg/JointTrajectory"
COMMAND_MESSAGE = "std_msgs/msg/Float64MultiArray"
DEFAULT_TOPIC = "/joint_states"
INTERFACES = ("position", "velocity", "effort")
SECOND = 10**9  # [ns]

Columns = tuple[Sequence[float], Sequence[float], Sequence[float]]


class JointMessage(NamedTuple):
    """Values of some joints at one time.

    Attributes:
        logged: time at which the message was recorded [ns].
        stamp: time in the message [ns]; zero: it has none.
        names: names of the joints; empty: those of the arm, in its order.
        columns: their positions, velocities and efforts; empty where they are not known.
    """

    logged: int
    stamp: int
    names: Sequence[str]
    columns: Columns


def joint_messages(
    path: Path, names: Sequence[str], ignored: Sequence[str] = ()
) -> Iterator[JointMessage]:
    """Yield the states of joints on some topics, in the order of their log times.

    Args:
        path: the recording.
        names: the topics.
        ignored: joints to leave out.

    Raises:
        ValueError: no recording, or a topic without states of joints.
    """
    recorded = topics(path)
    for name in names:
        if not any(kind in READERS for kind in recorded.get(name, ())):
            raise MissingTopic(f"no topic {name} with states of joints; {_contents(recorded)}")
    waiting: list[JointMessage] = []  # points of a trajectory that a later one may replace
    for message in topic_messages(path, names):
        if message.type not in READERS:
            continue
        states = [_without(part, ignored) for part in READERS[message.type](message)]
        if message.type == TRAJECTORY_MESSAGE and states:
            yield from (part for part in waiting if part.stamp < states[0].stamp)
            waiting = states
        else:
            yield from states
    yield from waiting


def state_topic(path: Path) -> str:
    """Return the topic with the joint states of a recording if nobody names it.

    Raises:
        ValueError: there is none, or there are several.
    """
    recorded = topics(path)
    if JOINT_STATE_MESSAGE in recorded.get(DEFAULT_TOPIC, ()):
        return DEFAULT_TOPIC
    for kinds in ((JOINT_STATE_MESSAGE,), tuple(STATE_READERS)):
        known = [name for name, types in recorded.items() if any(k in types for k in kinds)]
        if len(known) == 1:
            return known[0]
        if known:
            options = ", ".join(f"--topic {name}" for name in known)
            raise MissingTopic(
                f"no topic {DEFAULT_TOPIC}, but several with states of joints: give one of "
                f"{options}, or several of them"
            )
    raise MissingTopic(f"no topic with states of joints; {_contents(recorded)}")


def _contents(types_by_topic: Mapping[str, Sequence[str]]) -> str:
    known = [f"{name} ({kind})" for name, kinds in types_by_topic.items() for kind in kinds]
    return f"it holds {', '.join(known) or 'nothing'}"


def _without(message: JointMessage, ignored: Sequence[str]) -> JointMessage:
    """Return a message without some joints."""
    if not set(ignored) & set(message.names):
        return message
    kept = [k for k, name in enumerate(message.names) if name not in ignored]
    pos, vel, eff = ([c[k] for k in kept if k < len(c)] for c in message.columns)
    return message._replace(names=[message.names[k] for k in kept], columns=(pos, vel, eff))


def nanoseconds(message: Any) -> int:
    """Return the stamp in the header of a message [ns]."""
    return int(message.header.stamp.sec) * SECOND + int(message.header.stamp.nanosec)


def _joint_state(message: Any) -> list[JointMessage]:
    m = message.content
    columns = (m.position, m.velocity, m.effort)
    return [JointMessage(message.logged, nanoseconds(m), m.name, columns)]


def _trajectory(message: Any) -> list[JointMessage]:
    """Return the points of a trajectory; one without a stamp starts when it is received."""
    m = message.content
    start = nanoseconds(m) or message.logged
    return [
        JointMessage(
            message.logged,
            start + int(p.time_from_start.sec) * SECOND + int(p.time_from_start.nanosec),
            m.joint_names,
            (p.positions, p.velocities, p.effort),
        )
        for p in m.points
    ]


def _controller_state(message: Any) -> list[JointMessage]:
    """Return what a trajectory controller measured, and its output where that is an effort."""
    m = message.content
    points = [getattr(m, name) for name in ("feedback", "actual") if hasattr(m, name)]
    state = next((point for point in points if len(point.positions)), points[0])
    output = getattr(m, "output", None)
    effort = state.effort if len(state.effort) or output is None else output.effort
    columns = (state.positions, state.velocities, effort)
    return [JointMessage(message.logged, nanoseconds(m), m.joint_names, columns)]


def _dynamic_state(message: Any) -> list[JointMessage]:
    m = message.content
    interfaces = [
        dict(zip(part.interface_names, part.values, strict=True)) for part in m.interface_values
    ]
    pos, vel, eff = ([part.get(name, np.nan) for part in interfaces] for name in INTERFACES)
    return [JointMessage(message.logged, nanoseconds(m), m.joint_names, (pos, vel, eff))]


def _command(message: Any) -> list[JointMessage]:
    """Return a command without names and stamp, that of an effort controller."""
    return [JointMessage(message.logged, 0, (), ((), (), message.content.data))]


Reader = Callable[[Any], list[JointMessage]]
STATE_READERS: dict[str, Reader] = {
    JOINT_STATE_MESSAGE: _joint_state,
    CONTROLLER_STATE_MESSAGE: _controller_state,
    DYNAMIC_STATE_MESSAGE: _dynamic_state,
    TRAJECTORY_MESSAGE: _trajectory,
}
READERS: dict[str, Reader] = STATE_READERS | {COMMAND_MESSAGE: _command}
