"""Serialized messages in, a rosbag2 recording that `ros2 bag` opens out."""

from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore


class BagWriter:
    """Write messages as they come."""

    def __init__(self, directory: Path) -> None:
        """Make the recording's directory.

        Raises:
            ValueError: it exists already; a recording is never overwritten.
        """
        if directory.exists():
            raise ValueError(f"{directory} exists already; record into a new directory")
        self.writer = Writer(directory, version=9)
        self.writer.open()
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.connections: dict[str, Any] = {}

    def write(self, topic: str, kind: Any, time: int, raw: bytes) -> None:
        """Add one message, received at a time [ns]."""
        if topic not in self.connections:
            package = kind.__module__.split(".")[0]
            name = f"{package}/msg/{kind.__name__}"
            self.connections[topic] = self.writer.add_connection(topic, name, typestore=self.store)
        self.writer.write(self.connections[topic], time, raw)

    def close(self) -> None:
        """Finish the recording."""
        self.writer.close()
