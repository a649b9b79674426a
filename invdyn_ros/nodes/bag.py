"""Writer of rosbag2 recordings."""

from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore


class BagWriter:
    """Write serialized messages to a recording that `ros2 bag` can read."""

    def __init__(self, directory: Path) -> None:
        """Create the directory of the recording.

        Raises:
            ValueError: the directory exists; recordings are never overwritten.
        """
        if directory.exists():
            raise ValueError(f"{directory} exists already; record into a new directory")
        self.writer = Writer(directory, version=9)
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
        """
        if topic not in self.connections:
            package = message_type.__module__.split(".")[0]
            name = f"{package}/msg/{message_type.__name__}"
            self.connections[topic] = self.writer.add_connection(
                topic, name, typestore=self.typestore
            )
        self.writer.write(self.connections[topic], time, raw)

    def close(self) -> None:
        """Finish the recording."""
        self.writer.close()
