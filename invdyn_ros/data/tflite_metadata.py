"""Metadata of TensorFlow Lite models: how a task of MediaPipe normalises the image it gets.

A model is a FlatBuffer, whose offsets point forward only: what is added is written in front of
the whole old file, together with a new root table that refers to the parts of the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

from flatbuffers import Builder
from flatbuffers.number_types import Uint32Flags
from flatbuffers.table import Table

ALIGNMENT = 16  # of the weights in a file [bytes]
METADATA_NAME = b"TFLITE_METADATA"
MODEL_IDENTIFIER, METADATA_IDENTIFIER = b"TFL3", b"M001"  # of the two formats
# fields of the tables of schema.fbs and metadata_schema.fbs that are read or written
VERSION, BUFFERS, METADATA, NUM_MODEL_FIELDS = 0, 4, 6, 8
NAME, BUFFER = 0, 1  # of an entry of the metadata
NORMALIZATION = 1  # type of a process unit


def add_normalization(model: bytes, mean: float, std: float) -> bytes:
    """Return a model whose metadata says that its input is (image - mean) / std.

    Args:
        model: content of a .tflite file.
        mean: of the values of a pixel, 0 to 255.
        std: divisor of the values of a pixel.

    Raises:
        ValueError: not a TensorFlow Lite model.
    """
    if model[4:8] != MODEL_IDENTIFIER:
        raise ValueError("not a TensorFlow Lite model")
    content = model + bytes(-len(model) % ALIGNMENT)
    builder, old = _builder_in_front_of(content), _OldModel(content)
    name = builder.CreateString(METADATA_NAME)
    buffer = _table(builder, {0: _bytes(builder, normalization_metadata(mean, std))})
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(NAME, name, 0)
    builder.PrependUint32Slot(BUFFER, len(old.vector(BUFFERS)), 0)
    entry = builder.EndObject()
    parts = {field: old.offset(field) for field in range(1, NUM_MODEL_FIELDS)}
    parts[BUFFERS] = _offsets(builder, [*old.vector(BUFFERS), buffer])
    parts[METADATA] = _offsets(builder, [*old.other_metadata(), entry])
    builder.StartObject(NUM_MODEL_FIELDS)
    builder.PrependUint32Slot(VERSION, old.version, 0)
    for field, offset in parts.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=MODEL_IDENTIFIER)
    return bytes(builder.Output())


def normalization_metadata(mean: float, std: float) -> bytes:
    """Return the metadata of a model with one input, (image - mean) / std."""
    builder = Builder(256)
    version = builder.CreateString("1.0.0")
    options = _table(builder, {0: _floats(builder, [mean]), 1: _floats(builder, [std])})
    builder.StartObject(2)
    builder.PrependUint8Slot(0, NORMALIZATION, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    tensor = _table(builder, {4: _offsets(builder, [unit])})
    subgraph = _table(builder, {2: _offsets(builder, [tensor])})
    root = _table(builder, {3: _offsets(builder, [subgraph]), 7: version})
    builder.Finish(root, file_identifier=METADATA_IDENTIFIER)
    return bytes(builder.Output())


class _OldModel:
    """Parts of a model as a builder refers to them: by their distance from the end.

    Attributes:
        version: of the schema.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.root = self.table(0)
        self.version = self.root.GetSlot(4 + 2 * VERSION, 0, Uint32Flags)

    def table(self, position: int) -> Table:
        """Return the table that the offset at a position refers to."""
        return Table(self.content, Table(self.content, 0).Indirect(position))

    def offset(self, field: int) -> int:
        """Return the offset of a field of the root, 0 if it has none."""
        position = self.root.Offset(4 + 2 * field)
        if not position:
            return 0
        return len(self.content) - self.root.Indirect(self.root.Pos + position)

    def vector(self, field: int) -> list[int]:
        """Return the offsets of the tables in a field of the root."""
        return [len(self.content) - table.Pos for table in self.tables(field)]

    def tables(self, field: int) -> list[Table]:
        """Return the tables in a field of the root."""
        position = self.root.Offset(4 + 2 * field)
        if not position:
            return []
        start = self.root.Vector(position)
        return [self.table(start + 4 * i) for i in range(self.root.VectorLen(position))]

    def other_metadata(self) -> list[int]:
        """Return the offsets of the metadata of other names."""
        return [
            len(self.content) - entry.Pos
            for entry in self.tables(METADATA)
            if entry.String(entry.Pos + entry.Offset(4 + 2 * NAME)) != METADATA_NAME
        ]


def _builder_in_front_of(content: bytes) -> Builder:
    """Return a builder that has written some content already."""
    builder = Builder(len(content) + 4096)
    builder.head -= len(content)
    builder.Bytes[builder.head :] = content
    builder.minalign = ALIGNMENT
    return builder


def _table(builder: Builder, fields: dict[int, int]) -> int:
    """Write a table of offsets and return its own."""
    builder.StartObject(max(fields) + 1)
    for field, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    return int(builder.EndObject())


def _offsets(builder: Builder, offsets: Sequence[int]) -> int:
    """Write a vector of offsets and return its own."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Builder, values: Sequence[float]) -> int:
    """Write a vector of numbers and return its offset."""
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _bytes(builder: Builder, values: bytes) -> int:
    """Write bytes, aligned as weights are, and return their offset."""
    builder.StartVector(1, len(values), ALIGNMENT)
    for value in reversed(values):
        builder.PrependUint8(value)
    return int(builder.EndVector())
