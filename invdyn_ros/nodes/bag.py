"""Writer of rosbag2 recordings."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

if TYPE_CHECKING:
    from rclpy.duration import Duration
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

Storage = Literal["sqlite3", "mcap"]


class BagWriter:
    """Write serialized messages to a recording that `ros2 bag` can read."""

    def __init__(
        self, directory: Path, storage: Storage = "sqlite3", node: Node | None = None
    ) -> None:
        """Create the directory of the recording.

        Args:
            directory: a new directory.
            storage: format of the file.
            node: resolves names of topics, and knows the QoS of their publishers, which the
                recording then has; None: names are stored as they are.

        Raises:
            ValueError: the directory exists; recordings are never overwritten.
        """
        if directory.exists():
            raise ValueError(f"{directory} exists already; record into a new directory")
        self.directory, self.node = directory, node
        self.writer = Writer(directory, version=9, storage_plugin=StoragePlugin[storage.upper()])
        self.writer.open()
        self.typestore = get_typestore(Stores.ROS2_JAZZY)
        self.connections: dict[str, Any] = {}

    def write(self, topic: str, message_type: Any, time: int, raw: bytes) -> None:
        """Add one message.

        Args:
            topic: name of the topic.
            message_type: class of the message.
            time: time of reception [ns].
            raw: the serialized message.

        Raises:
            OSError: the disk is full, or the file cannot be written for another reason.
        """
        try:
            if topic not in self.connections:
                self.connections[topic] = self._connect(topic, message_type)
            self.writer.write(self.connections[topic], time, raw)
        except sqlite3.Error as error:
            raise OSError(str(error)) from None

    def _connect(self, topic: str, message_type: Any) -> Any:
        package = message_type.__module__.split(".")[0]
        name = f"{package}/msg/{message_type.__name__}"
        qos: list[Qos] = []
        if self.node is not None:
            publishers = self.node.get_publishers_info_by_topic(topic)
            qos = [to_qos(publisher.qos_profile) for publisher in publishers]
            topic = self.node.resolve_topic_name(topic)
        return self.writer.add_connection(
            topic, name, typestore=self.typestore, offered_qos_profiles=qos
        )

    def close(self) -> None:
        """Finish the recording.

        Raises:
            OSError: the disk is full, or the file cannot be written for another reason.
        """
        try:
            self.writer.close()
        except sqlite3.Error as error:
            raise OSError(str(error)) from None

    def remove(self) -> None:
        """Delete a recording that cannot be finished; nothing of it could be read."""
        if self.writer.storage is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                self.writer.storage.abort()
        shutil.rmtree(self.directory, ignore_errors=True)


def to_qos(profile: QoSProfile) -> Qos:
    """Return the QoS of a publisher as recordings have it; DDS does not tell its history."""
    return Qos(
        QosHistory(int(profile.history)),
        int(profile.depth),
        QosReliability(int(profile.reliability)),
        QosDurability(int(profile.durability)),
        _to_time(profile.deadline),
        _to_time(profile.lifespan),
        QosLiveliness(int(profile.liveliness)),
        _to_time(profile.liveliness_lease_duration),
        bool(profile.avoid_ros_namespace_conventions),
    )


def _to_time(duration: Duration) -> QosTime:
    return QosTime(*divmod(int(duration.nanoseconds), 10**9))
