"""Writer of rosbag2 recordings."""

import contextlib
import shutil
import sqlite3
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
        self.directory = directory
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

        Raises:
            OSError: the disk is full, or the file cannot be written for another reason.
        """
        try:
            self._write(topic, message_type, time, raw)
        except sqlite3.Error as error:
            raise OSError(str(error)) from None

    def _write(self, topic: str, message_type: Any, time: int, raw: bytes) -> None:
        if topic not in self.connections:
            package = message_type.__module__.split(".")[0]
            name = f"{package}/msg/{message_type.__name__}"
            self.connections[topic] = self.writer.add_connection(
                topic, name, typestore=self.typestore
            )
        self.writer.write(self.connections[topic], time, raw)

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
            with contextlib.suppress(sqlite3.Error):
                self.writer.storage.abort()
        shutil.rmtree(self.directory, ignore_errors=True)
