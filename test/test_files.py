"""Damaged and malicious files are refused in one line that names the file and a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from invdyn_ros.arms.pybullet_arm import add_arm
from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.benchmarks.file_specimens import write_urdf
from invdyn_ros.benchmarks.files import FilesBenchmarkConfig, measure_files
from invdyn_ros.cli import run_verb
from invdyn_ros.config import error_line, load_json, load_yaml
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.array_files import read_tables

DEPTH = 100_000


@pytest.mark.slow
def test_damaged_files_of_every_kind_are_read_or_refused_in_one_line() -> None:
    config = FilesBenchmarkConfig(files=96, seed=1, workers=1, commands=0, time_limit=60.0)
    report = measure_files(config)
    assert not report["failures"], report["failures"][0]
    assert report["rows"]["all"]["refused"] > 50
    assert report["rows"]["all"]["accepted"] > 10


def test_failures_are_counted(tmp_path: Path) -> None:
    """A limit that no file can meet makes every file a failure, which is kept."""
    config = FilesBenchmarkConfig(
        files=2, kinds=("obstacles.yaml",), workers=1, commands=0, time_limit=1e-9, keep=tmp_path
    )
    report = measure_files(config)
    assert report["rows"]["all"]["hang"] == 2
    assert len(list(tmp_path.iterdir())) == 2


URDF_DAMAGE = {
    "xacro": ('rpy="0 0 0"', 'rpy="${pi} 0 0"', "run xacro on the file first"),
    "comma": ('rpy="0 0 0"', 'rpy="0,0,0"', "separated by blanks"),
    "count": ('xyz="0 0 0.25"', 'xyz="0 0"', "needs 3 numbers"),
    "nan": ('mass value="2.0"', 'mass value="nan"', "implausible"),
    "huge": ('mass value="2.0"', 'mass value="1e308"', "implausible"),
    "limit": ('upper="3.0"', 'upper="1e20"', "needs lower < upper"),
    "axis": ('<axis xyz="0 0 1"/>', '<axis xyz="0 0 0"/>', "<axis> of joint 'joint_0' is zero"),
    "twins": ('joint name="joint_1"', 'joint name="joint_0"', "joint 'joint_0' is given twice"),
    "entities": ("<robot", '<!DOCTYPE r [<!ENTITY a "b">]><robot', "<!DOCTYPE>"),
    "depth": ("<link name='base'/>", "<a>" * DEPTH, "nested more than 50 deep"),
    "parent": ("meshes/box.stl", "../../../../box.stl", "outside the folder"),
    "absolute": ("meshes/box.stl", "/etc/passwd", "outside the folder"),
    "web": ("meshes/box.stl", "http://host/box.stl", "outside the folder"),
    "package": ("meshes/box.stl", "package://a/../../box.stl", "outside the folder"),
}


@pytest.mark.parametrize("name", URDF_DAMAGE)
def test_invalid_urdf_is_refused_with_file_and_remedy(tmp_path: Path, name: str) -> None:
    old, new, message = URDF_DAMAGE[name]
    write_urdf(tmp_path)
    file = tmp_path / "arm.urdf"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message) as raised:
        load_robot("arm", file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_urdf_is_read_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    write_urdf(tmp_path)
    file = tmp_path / "arm.urdf"
    text = file.read_text().replace('version="1.0"', 'version="1.0" encoding="latin-1"')
    file.write_bytes(text.replace('name="arm"', 'name="Größe"').encode("latin-1"))
    assert load_robot("arm", file).n == 3


def test_mesh_beside_the_urdf_or_in_a_package_is_loaded(tmp_path: Path) -> None:
    write_urdf(tmp_path)
    robot = load_robot("arm", tmp_path / "arm.urdf")
    client = connect()
    assert len(add_arm(client, robot, PlantConfig()).joints) == 3
    client.disconnect()
    (tmp_path / "package.xml").touch()
    inner = tmp_path / "urdf" / "arm.urdf"
    inner.parent.mkdir()
    inner.write_text((tmp_path / "arm.urdf").read_text().replace("meshes/", "../meshes/"))
    load_robot("arm", inner)


def test_values_in_other_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(80))
    with h5py.File(tmp_path / "storage.hdf5", "w") as file:
        file.create_dataset("actions", (10,), "f8", external=[(str(secret), 0, 80)])
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "storage.hdf5"), "actions", (10,))
    with h5py.File(tmp_path / "virtual.hdf5", "w") as file:
        file.create_virtual_dataset("actions", layout)
    for name in ("storage", "virtual"):
        with pytest.raises(ValueError, match="is stored in another file"):
            read_tables(tmp_path / f"{name}.hdf5", "actions")[0].load(["actions"])
    with h5py.File(tmp_path / "link.hdf5", "w") as file:
        file["actions"] = h5py.ExternalLink(str(tmp_path / "storage.hdf5"), "actions")
    assert "actions" not in read_tables(tmp_path / "link.hdf5", "actions")[0].contents.widths


def test_size_that_a_file_cannot_hold_is_refused_before_memory_is_allocated(
    tmp_path: Path,
) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("actions", (10**12,), "f8", chunks=(1000,))
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.create_array("actions", shape=(10**12,), chunks=(1000,), dtype="f8")
    for name in ("a.hdf5", "a.zarr"):
        with pytest.raises(ValueError, match=r"claims 8e\+12 bytes"):
            read_tables(tmp_path / name, "actions")[0].load(["actions"])
    rows = 20_000_000
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([1.0]))
    pq.write_table(pa.table({"actions": values}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"claims 1.6e\+08 bytes"):
        read_tables(tmp_path / "a.parquet", "actions")[0].load(["actions"])


CONFIG_DAMAGE = {
    "lists": ("a: " + "[" * 600, "nested too deeply"),
    "digits": ("a: " + "9" * 5000, "4300 digits"),
    "bomb": (
        "\n".join(["a0: &a0 [x]", *(f"a{k}: &a{k} [{f'*a{k - 1},' * 9}]" for k in range(1, 9))]),
        "aliases expand to more than",
    ),
    "cycle": ("a: &a [*a]", "aliases expand to more than"),
    "date": ("a: 2026-99-99", "month must be"),
    "encoding": ("a: Größe".encode("latin-1"), "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", CONFIG_DAMAGE)
def test_invalid_yaml_is_refused_in_one_short_line(tmp_path: Path, name: str) -> None:
    content, message = CONFIG_DAMAGE[name]
    file = tmp_path / "a.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as raised:
        load_yaml(file)
    assert "\n" not in str(raised.value)
    assert str(file) in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('{"a":' * DEPTH, "nested too deeply"),
        ("[1]", "is not a JSON object"),
        ("\x00", "is not JSON"),
    ],
)
def test_invalid_json_is_refused_in_one_short_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_json(file)


def test_written_json_replaces_the_old_file_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert load_json(file) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_message_is_one_line_without_endless_words() -> None:
    line = error_line(ValueError("no joint\n'" + "a" * 5000 + "'; give another"))
    assert line.startswith("no joint 'aaa")
    assert line.endswith("; give another") or line.endswith("... give another")
    assert len(line) < 200
    assert error_line(MemoryError()) == "it does not fit into the memory"


def test_command_ends_with_code_2_and_one_line(tmp_path: Path, capfd) -> None:
    write_urdf(tmp_path)
    file = tmp_path / "arm.urdf"
    file.write_text(file.read_text().replace("meshes/box.stl", "../../../box.stl"))
    info = tmp_path / "data" / "meta" / "info.json"
    info.parent.mkdir(parents=True)
    info.write_text(json.dumps({"a": 1}).replace("1", "[" * DEPTH))
    for arguments in (
        ["sim", "--urdf", str(file)],
        ["dataset", str(tmp_path / "data")],
    ):
        assert run_verb("collect", [*arguments, "--out", str(tmp_path / "out")]) == 2
        assert len(capfd.readouterr().err.strip().splitlines()) == 1
