"""Reader of rosbag2 storage in which some channels are not those of ROS 2.

Recorders write JSON or protobuf beside the messages of ROS 2, and the encoding "unknown" for
messages whose definition they did not find; `rosbags` 0.11 refuses such a recording as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag2.metadata import ReaderMetadata, parse_qos
from rosbags.rosbag2.reader import DirectoryReader, Reader
from rosbags.rosbag2.storage_mcap import McapReader, Schema
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
ROS_SCHEMAS = (*FORMATS, "omgidl", "")
CDR = "cdr"
NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")


class _Schemas(dict[int, Schema]):
    """Schemas of an mcap file; those that ROS 2 does not know lose their definition."""

    def __setitem__(self, key: int, schema: Schema) -> None:
        """Add a schema."""
        known = schema.encoding in ROS_SCHEMAS
        super().__setitem__(key, schema if known else schema._replace(encoding="", data=""))


class _McapReader(McapReader):
    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.schemas = _Schemas()

    def _open(self) -> None:
        super()._open()
        self.connections = [c for c in self.connections if _is_cdr(c)]


class _Sqlite3Reader(Sqlite3Reader):
    def _open(self) -> None:
        """Read the topics of any version of the format."""
        connection = self.dbconn
        assert connection is not None
        columns = {
            table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            for table in ("topics", "messages", "message_definitions")
        }
        if not (columns["topics"] and columns["messages"]):
            raise ValueError("it lacks the tables 'topics' and 'messages'")
        definitions = {}
        if columns["message_definitions"]:
            rows = connection.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            )
            definitions = {
                name: MessageDefinition(FORMATS[encoding], text)
                for name, encoding, text in rows
                if encoding in FORMATS
            }
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns["topics"] else "''"
        digest = "type_description_hash" if "type_description_hash" in columns["topics"] else "''"
        rows = connection.execute(
            f"SELECT id, name, type, serialization_format, {qos}, {digest}, "
            "(SELECT count(*) FROM messages WHERE topic_id = topics.id) FROM topics ORDER BY id"
        )
        self.connections = [
            Connection(
                key,
                topic,
                kind,
                definitions.get(kind, NO_DEFINITION),
                digest_,
                count,
                ConnectionExtRosbag2(encoding, parse_qos(profiles) if profiles else []),
                self,
            )
            for key, topic, kind, encoding, profiles, digest_, count in rows
            if encoding == CDR
        ]
        self.metadata = ReaderMetadata(0, 0, 0, 0, None, None, None, None)


class _DirectoryReader(DirectoryReader):
    STORAGE_PLUGINS: Mapping[str, type[Any]] = {
        "mcap": _McapReader,
        "sqlite3": _Sqlite3Reader,
    }


class BagReader(Reader):
    """Reader of the CDR messages of a bag folder, or of a bare .db3 or .mcap file."""

    STORAGE_PLUGINS: Mapping[str, type[Any]] = {
        "dir": _DirectoryReader,
        ".mcap": _McapReader,
        ".db3": _Sqlite3Reader,
    }


def _is_cdr(connection: Connection) -> bool:
    """Return whether the messages of a channel are those of ROS 2."""
    ext = connection.ext
    return isinstance(ext, ConnectionExtRosbag2) and ext.serialization_format == CDR
