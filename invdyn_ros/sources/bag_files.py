"""Recordings of rosbag2 on disk: .db3 or .mcap files, or folders of them, and their messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from invdyn_ros.config import check_nesting, describe_error, read_text

if TYPE_CHECKING:  # slow to import
    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

JOINT_STATE_MESSAGE = "sensor_msgs/msg/JointState"
CONTROLLER_STATE_MESSAGE = "control_msgs/msg/JointTrajectoryControllerState"
DYNAMIC_STATE_MESSAGE = "control_msgs/msg/DynamicJointState"
METADATA, FILES = "metadata.yaml", (".db3", ".mcap")

POINTS = ("reference", "feedback", "error", "output", "desired", "actual")
# of the packages that rosbags does not bring along, as in ROS 2 Humble, whose recordings hold no
# definitions; newer ones hold their own
DEFINITIONS = {
    "control_msgs/msg/InterfaceValue": "string[] interface_names\nfloat64[] values",
    DYNAMIC_STATE_MESSAGE: "std_msgs/Header header\nstring[] joint_names\n"
    "control_msgs/InterfaceValue[] interface_values",
    CONTROLLER_STATE_MESSAGE: "std_msgs/Header header\nstring[] joint_names\n"
    + "".join(f"trajectory_msgs/JointTrajectoryPoint {name}\n" for name in POINTS)
    + "string[] multi_dof_joint_names\n"
    + "".join(f"trajectory_msgs/MultiDOFJointTrajectoryPoint multi_dof_{n}\n" for n in POINTS),
}


class MissingTopic(ValueError):
    """A recording without a topic of the expected name and type."""


class RecordedMessage(NamedTuple):
    """Message of a recording.

    Attributes:
        topic: its topic.
        type: such as "sensor_msgs/msg/JointState".
        logged: time at which it was recorded [ns].
        content: the message.
    """

    topic: str
    type: str
    logged: int
    content: Any


def find_bags(path: str | Path) -> list[Path]:
    """Return the recordings at a path, in the order of their names.

    Raises:
        ValueError: there are none.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a bag folder, a .db3 or a .mcap")
    if path.is_file() or (path / METADATA).is_file():
        return [path]
    inside = sorted(path.iterdir())
    bags = [p for p in inside if p.suffix in FILES or (p / METADATA).is_file()]
    if not bags:
        raise ValueError(
            f"{path}: no recording in this folder; it has neither {METADATA} nor a .db3 or .mcap"
        )
    return bags


def messages(path: Path, topic: str, message_type: str) -> Iterator[tuple[int, Any]]:
    """Yield (log time [ns], message) of a topic.

    Args:
        path: the recording.
        topic: name of the topic.
        message_type: such as "sensor_msgs/msg/JointState".

    Raises:
        ValueError: no recording, or no topic of that name and type in it.
    """
    if message_type not in topics(path).get(topic, ()):
        raise MissingTopic(f"no topic {topic} of type {message_type}; {_contents(topics(path))}")
    for message in topic_messages(path, [topic]):
        if message.type == message_type:
            yield message.logged, message.content


def topic_messages(path: Path, names: Sequence[str]) -> Iterator[RecordedMessage]:
    """Yield the messages of some topics in the order of their log times.

    Raises:
        ValueError: no recording, or none of these topics in it.
    """
    with _open(path) as reader:
        connections = [c for c in reader.connections if c.topic in names]
        types = _types(connections)
        for c, logged, raw in reader.messages(connections) if connections else ():
            content = types.deserialize_cdr(raw, c.msgtype)
            yield RecordedMessage(c.topic, c.msgtype, logged, content)


def topics(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the topics of a recording, each with its message types.

    Raises:
        ValueError: no recording.
    """
    with _open(path) as reader:
        result: dict[str, tuple[str, ...]] = {}
        for c in reader.connections:
            result[c.topic] = tuple(dict.fromkeys((*result.get(c.topic, ()), c.msgtype)))
        return result


def _contents(types_by_topic: dict[str, tuple[str, ...]]) -> str:
    """Return the topics of a recording in words."""
    known = [f"{name} ({kind})" for name, kinds in types_by_topic.items() for kind in kinds]
    return f"it holds {', '.join(known) or 'nothing'}"


def _types(connections: Sequence[Connection]) -> Typestore:
    """Return the types of messages, with those that the recording defines itself."""
    from rosbags.interfaces import MessageDefinitionFormat
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    # the message types of ROS 2 itself are the same in all distributions
    types = get_typestore(Stores.ROS2_JAZZY)
    parsers = {
        MessageDefinitionFormat.MSG: get_types_from_msg,
        MessageDefinitionFormat.IDL: lambda text, _: get_types_from_idl(text),
    }
    recorded = {c.msgtype: c.msgdef for c in connections if c.msgtype in DEFINITIONS}
    for name, (kind, text) in recorded.items():
        known = parsers[kind](text, name) if kind in parsers else {}
        types.register({n: d for n, d in known.items() if n not in types.fielddefs})
    for name, text in DEFINITIONS.items():
        if name not in types.fielddefs:
            types.register(get_types_from_msg(text, name))
    return types


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a recording; the library raises any class of error for damaged content.

    Raises:
        ValueError: no recording, or a damaged one.
    """
    from invdyn_ros.sources.bag_storage import BagReader

    try:
        if (path / METADATA).is_file():
            check_nesting(read_text(path / METADATA))
        with BagReader(path) as reader:
            yield reader
    except MissingTopic:
        raise
    except Exception as error:
        raise ValueError(
            f"not a readable rosbag2 recording ({describe_error(error)}); record or copy it again"
        ) from error
