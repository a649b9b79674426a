import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

import invdyn_ros
from invdyn_ros.cli import VERBS
from invdyn_ros.graph.graph import GRAPHS

ROOT = Path(__file__).parents[1]
PARTS = (
    "package.xml",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "requirements",
    "resource",
    "invdyn_ros",
    "launch",
    "config",
    "urdf",
)
NODES = {rule.executable for graph in GRAPHS.values() for rule in graph.nodes}
NODES |= {"composed", "inverse_dynamics_solver"}  # several nodes; for programs of others

# looked up in rosdistro's rosdep/python.yaml and, for ROS packages, in its distribution files
ROSDEP_KEYS = {
    "ament_index_python", "builtin_interfaces", "control_msgs", "controller_manager_msgs",
    "diagnostic_msgs", "geometry_msgs", "launch", "launch_ros", "lifecycle_msgs",
    "rcl_interfaces", "rclpy", "ros2launch", "rosgraph_msgs", "sensor_msgs", "std_msgs",
    "std_srvs", "tf2_msgs", "trajectory_msgs", "ur_dashboard_msgs", "ur_msgs",
    "visualization_msgs",
    "python3-aiohttp", "python3-docstring-parser", "python3-flatbuffers",
    "python3-gymnasium-pip", "python3-h5py",
    "python3-imageio",
    "python3-jinja2", "python3-matplotlib", "python3-mediapipe-pip", "python3-mujoco-pip",
    "python3-numpy", "python3-onnxruntime-pip", "python3-opencv", "python3-pil",
    "python3-pybullet-pip", "python3-pydantic", "python3-pytest", "python3-pytest-timeout",
    "python3-pytest-xdist", "python3-pytorch-pip", "python3-rosbags-pip",
    "python3-sb3-contrib-pip", "python3-scipy", "python3-smbus2",
    "python3-stable-baselines3-pip", "python3-tensorboard-pip", "python3-tqdm", "python3-yaml",
}  # fmt: skip


def copy_package(folder):
    """Copy the files that an installation is made of."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the install prefix of a colcon build of a copy of the package."""
    workspace = tmp_path_factory.mktemp("workspace")
    source = workspace / "src" / "invdyn_ros"
    source.mkdir(parents=True)
    copy_package(source)
    colcon = Path(sys.executable).with_name("colcon")
    built = subprocess.run(
        [colcon if colcon.exists() else "colcon", "build", "--event-handlers", "console_direct+"],
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return workspace / "install" / "invdyn_ros"


def relative_files(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {f.relative_to(folder) for f in files if "__pycache__" not in f.parts}


def test_package_is_in_the_ament_index(installed):
    assert (installed / "share/ament_index/resource_index/packages/invdyn_ros").is_file()
    assert (installed / "share/invdyn_ros/package.xml").is_file()


@pytest.mark.parametrize("folder", ["launch", "config", "urdf"])
def test_data_files_are_installed_where_ros_looks(installed, folder):
    expected = relative_files(ROOT / folder)
    assert expected and relative_files(installed / "share" / "invdyn_ros" / folder) == expected


def test_every_verb_and_node_is_an_executable(installed):
    folder = installed / "lib" / "invdyn_ros"
    executables = {file.name for file in folder.iterdir() if os.access(file, os.X_OK)}
    assert executables == {"invdyn", *VERBS, *NODES}


def test_the_installed_package_runs_and_finds_its_own_files(installed):
    site = next(installed.glob("lib/python3*/site-packages"))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{site}",
        "AMENT_PREFIX_PATH": f"{installed}",
    }
    code = "from invdyn_ros.robots.robot import package_file; print(package_file('urdf/ur5.urdf'))"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=site, capture_output=True, text=True
    )
    assert result.stdout.strip() == str(installed / "share/invdyn_ros/urdf/ur5.urdf"), (
        result.stderr
    )
    version = [installed / "lib/invdyn_ros/invdyn", "--version"]
    result = subprocess.run(version, env=environment, cwd=site, capture_output=True, text=True)
    assert result.stdout == f"invdyn {invdyn_ros.__version__}\n", result.stderr
    verb = [installed / "lib/invdyn_ros/launch", "grasp_sim", "--show-args"]
    assert subprocess.run(verb, env=environment, cwd=site, capture_output=True).returncode == 0


def test_all_versions_are_one():
    manifest = ET.parse(ROOT / "package.xml").getroot()
    result = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert manifest.findtext("version") == invdyn_ros.__version__
    assert result.stdout.split()[-1] == invdyn_ros.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == invdyn_ros.__version__
    assert f"## [{invdyn_ros.__version__}] - {citation['date-released']}" in (
        (ROOT / "CHANGELOG.md").read_text()
    )


def test_the_manifest_is_format_3_with_known_keys():
    manifest = ET.parse(ROOT / "package.xml").getroot()
    keys = {item.text for item in manifest if item.tag.endswith("depend")}
    assert manifest.get("format") == "3" and manifest.findtext("license") == "Apache-2.0"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert keys <= ROSDEP_KEYS


def test_config_files_are_plain_yaml():
    for file in (ROOT / "config").rglob("*.yaml"):
        assert isinstance(yaml.safe_load(file.read_text()), dict), file
