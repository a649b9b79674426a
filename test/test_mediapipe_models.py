"""MediaPipe's task files: their metadata, and what is refused."""

import hashlib
import zipfile

import pytest
from flatbuffers import Builder
from flatbuffers.number_types import Float32Flags
from flatbuffers.table import Table

from invdyn_ros.cli.install_models import main
from invdyn_ros.data import mediapipe_models
from invdyn_ros.data.mediapipe_models import (
    HAND_TASK,
    NETWORKS,
    POSE_TASK,
    Network,
    find_task_file,
    read_task_files,
)
from invdyn_ros.data.tflite_metadata import add_normalization

WEIGHTS = bytes(range(200))


def small_model():
    """A model with a description and two buffers, of which one has weights."""
    builder = Builder(0)
    weights = builder.CreateByteVector(WEIGHTS)
    description = builder.CreateString("small")
    buffers = []
    for data in (0, weights):
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, data, 0)
        buffers.append(builder.EndObject())
    builder.StartVector(4, 2, 4)
    for buffer in reversed(buffers):
        builder.PrependUOffsetTRelative(buffer)
    vector = builder.EndVector()
    builder.StartObject(5)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(3, description, 0)
    builder.PrependUOffsetTRelativeSlot(4, vector, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


def root(content):
    return Table(content, Table(content, 0).Indirect(0))


def field(table, slot):
    """The position of a field in the file."""
    return table.Pos + table.Offset(4 + 2 * slot)


def text(table, slot):
    return table.String(field(table, slot))


def tables(table, slot):
    offset = table.Offset(4 + 2 * slot)
    start = table.Vector(offset)
    return [
        Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))
    ]


def content_of(buffer):
    """The bytes in a buffer of a model, and where they start."""
    offset = buffer.Offset(4)
    start = buffer.Vector(offset)
    return bytes(buffer.Bytes[start : start + buffer.VectorLen(offset)]), start


def single(table, *slots):
    """The table at the end of a path of vectors of one table each."""
    for slot in slots:
        (table,) = tables(table, slot)
    return table


def normalization(content):
    """Mean and std in the metadata of a model."""
    (entry,) = [e for e in tables(root(content), 6) if text(e, 0) == b"TFLITE_METADATA"]
    index = int.from_bytes(content[field(entry, 1) :][:4], "little")
    metadata, start = content_of(tables(root(content), 4)[index])
    assert start % 16 == 0 and metadata[4:8] == b"M001"
    unit = single(root(metadata), 3, 2, 4)
    options = Table(metadata, unit.Indirect(field(unit, 1)))
    return tuple(
        options.GetVectorAsNumpy(Float32Flags, options.Offset(4 + 2 * slot))[0] for slot in (0, 1)
    )


@pytest.mark.parametrize("model", [small_model(), small_model() + b"zip"], ids=["even", "odd"])
def test_normalization_is_added_and_the_rest_of_a_model_is_kept(model):
    once = add_normalization(model, 127.5, 64.0)
    assert normalization(once) == (127.5, 64.0) and len(once) % 16 == 0
    twice = add_normalization(once, 0.0, 255.0)  # replaces the first
    assert normalization(twice) == (0.0, 255.0)
    for content in (once, twice):
        new = root(content)
        assert text(new, 3) == b"small"
        assert content_of(tables(new, 4)[1])[0] == WEIGHTS


def test_task_file_has_the_networks_uncompressed_and_is_reproducible(tmp_path, monkeypatch):
    model = small_model()
    network = Network("pose/small.tflite", hashlib.sha256(model).hexdigest(), 0.0, 255.0)
    monkeypatch.setattr(mediapipe_models, "NETWORKS", {"a.task": {"small.tflite": network}})
    wheel = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mediapipe/modules/pose/small.tflite", model)
    content = read_task_files(wheel)["a.task"]
    assert content == read_task_files(wheel)["a.task"]
    monkeypatch.setattr(mediapipe_models.sys, "prefix", str(tmp_path))
    assert main(["--wheel", str(wheel)]) == 0
    path = find_task_file("a.task")
    assert path.is_relative_to(tmp_path) and path.read_bytes() == content
    with zipfile.ZipFile(path) as task:
        (entry,) = task.infolist()
        assert entry.compress_type == zipfile.ZIP_STORED
        assert normalization(task.read("small.tflite")) == (0.0, 255.0)


def test_other_networks_and_other_files_are_refused(tmp_path):
    wheel = tmp_path / "other.whl"
    wheel.write_text("not a wheel")
    with pytest.raises(ValueError, match=r"other\.whl is not a wheel"):
        read_task_files(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        path = NETWORKS[POSE_TASK]["pose_detector.tflite"].path
        archive.writestr(f"mediapipe/modules/{path}", b"")
    with pytest.raises(ValueError, match=r"has not the pose_detection/.* of mediapipe 0\.10\.21"):
        read_task_files(wheel)
    with pytest.raises(ValueError, match="not a TensorFlow Lite model"):
        add_normalization(b"0123456789", 0.0, 1.0)


def test_missing_task_file_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(mediapipe_models.sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    with pytest.raises(FileNotFoundError, match=r"no pose_landmarker\.task in .*install_models"):
        find_task_file(POSE_TASK)


def test_installed_task_files_hold_the_networks_that_the_tasks_look_for():
    for name in (POSE_TASK, HAND_TASK):
        with zipfile.ZipFile(find_task_file(name)) as task:
            assert set(task.namelist()) == set(NETWORKS[name])
