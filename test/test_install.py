"""What pip installs: all files, declared packages, and one line about a part that is missing."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_package import ROOT, copy_package, relative_files

from invdyn_ros.cli import run_verb
from invdyn_ros.graph.extras import EXTRAS, NODE_MODULES, missing_module

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PARTS = {file.stem: file for file in (ROOT / "requirements").glob("*.txt")}
EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules.split()}
ONLY_WITH_ROS = {"launch", "launch_ros", "tf2_msgs", "tf2_ros"}  # not on PyPI
IMPORT = re.compile(r"\s*(?:from|import) (\w+)(?:\.\S*)?( import .*| as \w+)?$")
BROUGHT_BY = {"opencv-contrib-python": "mediapipe"}
INSTALLED = """
import json, sys
import invdyn_ros
from invdyn_ros.graph.graph import GRAPHS, resolve
from invdyn_ros.robots.robot import ROBOTS, load_robot, package_file

files = [package_file("launch"), package_file("config/fastdds.xml")]
files += [load_robot(arm).urdf for arm in ("dofbot", "ur5", "ur5e", "ur10")]
for arm in ("dofbot", "ur5", "ur5e"):
    for target in ("sim", "real"):
        resolve("teleop", {"arm": arm, "target": target})
resolve("grasp_sim", {"arm": "ur5", "policy": "learned"})
print(json.dumps([invdyn_ros.__file__, *map(str, files)]))
"""


def requirements(part):
    lines = (line.split("#")[0].strip() for line in PARTS[part].read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def normalised(name):
    return name.lower().replace("_", "-")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel that pip builds of a copy of the package."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    copy_package(source)
    pip(["wheel", "--no-deps", "--no-build-isolation", "-w", folder, source])
    return next(folder.glob("*.whl"))


def pip(words, python=sys.executable):
    command = [sys.executable, "-m", "pip", "--python", python, *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_wheel_holds_every_file(wheel):
    names = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    data = Path(wheel.name.rsplit("-", 3)[0] + ".data", "data", "share", "invdyn_ros")
    expected = {"invdyn_ros" / file for file in relative_files(ROOT / "invdyn_ros")}
    for folder in ("launch", "config", "urdf"):
        expected |= {data / folder / file for file in relative_files(ROOT / folder)}
    assert expected - names == set()


def test_wheel_declares_its_packages_and_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    declared = [Requirement(line.split(": ", 1)[1]) for line in lines if "Requires-Dist" in line]
    for part in PARTS:
        expected = {requirement.name for requirement in requirements(part)}
        environment = {"extra": "" if part == "base" else part}
        has_marker = part != "base"
        owners = {
            r.name
            for r in declared
            if bool(r.marker) == has_marker and (not r.marker or r.marker.evaluate(environment))
        }
        assert owners == expected, part


@pytest.mark.slow
def test_installed_wheel_runs_outside_of_the_repository(wheel, tmp_path):
    """In an environment that has the other packages, pip adds one program; it finds its files."""
    folder = tmp_path / "environment"
    venv.EnvBuilder(symlinks=True).create(folder)
    python = folder / "bin" / "python"
    before = set((folder / "bin").iterdir())
    pip(["install", "--no-deps", "--no-index", wheel], python)
    assert {file.name for file in set((folder / "bin").iterdir()) - before} == {"invdyn"}
    site = next(folder.glob("lib/python3*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    models = Path("share") / "invdyn_ros" / "mediapipe"  # what `invdyn install_models` makes
    shutil.copytree(Path(sys.prefix) / models, folder / models)
    for command in ([folder / "bin" / "invdyn", "--version"], [python, "-c", INSTALLED]):
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
        )
        assert ended.returncode == 0, ended.stderr
    files = [Path(file) for file in json.loads(ended.stdout)]
    assert all(file.is_relative_to(folder) and file.exists() for file in files), files


def test_every_imported_module_is_declared():
    """Every import is of Python, of `base`, or of an extra in whose list it stands."""
    distributions = packages_distributions()
    for name, file in imported_modules().items():
        part = EXTRA_OF.get(name, "base")
        names = {normalised(requirement.name) for requirement in requirements(part)}
        owners = {normalised(distribution) for distribution in distributions.get(name, [name])}
        owners |= {BROUGHT_BY[distribution] for distribution in owners & set(BROUGHT_BY)}
        assert owners & names, f"{file}: {name} is not in {part}.txt"


def imported_modules():
    """Packages of others that are imported -> a file that imports them."""
    names = {}
    for file in sorted((ROOT / "invdyn_ros").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0]: file for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names[node.module.partition(".")[0]] = file
    return {
        name: file
        for name, file in names.items()
        if name not in sys.stdlib_module_names | ONLY_WITH_ROS | {"invdyn_ros", "_typeshed"}
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_constraint(python):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    constraints = [Requirement(line) for line in lines if line and not line.startswith("#")]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    applies = [c.name for c in constraints if not c.marker or c.marker.evaluate(environment)]
    for part in PARTS:
        for requirement in requirements(part):
            assert applies.count(normalised(requirement.name)) == 1, f"{part}: {requirement}"


@pytest.mark.parametrize("module", sorted(EXTRA_OF))
def test_missing_module_is_named_with_its_extra(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        __import__(f"{module}.part")
    line = missing_module(caught.value)
    assert module in line and f"'invdyn_ros[{EXTRA_OF[module]}]'" in line and "\n" not in line
    assert (ROOT / "requirements" / f"{EXTRA_OF[module]}.txt").is_file()


def test_modules_of_nodes_belong_to_extras():
    assert {m for modules in NODE_MODULES.values() for m in modules} <= set(EXTRA_OF)


def test_errors_that_are_no_missing_package_are_not_hidden():
    assert missing_module(ModuleNotFoundError("No module", name="invdyn_ros.cli.nothing")) is None
    assert missing_module(ImportError("cannot import name", name="numpy")) is None
    assert missing_module(ModuleNotFoundError("No module", name="numpy.nothing")) is None


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("aiohttp", ["camera:=none", "view:=true"]),
        ("pybullet", ["camera:=none"]),
        ("rclpy", ["camera:=none"]),
    ],
)
def test_launch_without_an_extra_is_one_line(module, words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert run_verb("launch", ["teleop", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("invdyn launch: the Python module") and EXTRA_OF[module] in line


def run_tool(name, *words, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "tools" / name, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_check_ros_install_names_what_is_missing_and_what_to_type():
    """The wheels of ROS on PyPI lack launch; smbus2 is in no requirement of the tests."""
    ended = run_tool(
        "check_ros_install", "dofbot", ROS_DISTRO="jazzy", AMENT_PREFIX_PATH=sys.prefix
    )
    assert ended.returncode == 1, ended.stderr
    lines = ended.stdout.splitlines()
    missing = dict(pairwise(lines))
    packages = next(line for line in lines if line.startswith("MISSING ROS packages"))
    assert "launch_ros" in packages and "rclpy" not in packages
    assert "rosdep install" in missing[packages] and "python3-pybullet-pip" in missing[packages]
    requirement = next(line for line in lines if line.startswith("MISSING Python packages"))
    assert "smbus2" in requirement
    assert missing[requirement].endswith("-r requirements/base.txt -r requirements/dofbot.txt)")
    assert any(line.startswith("ok      ROS messages with numpy") for line in lines)
    assert any(line.startswith("ok      OpenCV") for line in lines)
    assert run_tool("check_ros_install", "wings").returncode == 2


def write_wheel(folder, name, version, tag):
    """Write a wheel without contents."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
def test_list_wheels_tells_wheels_from_sources(tmp_path):
    """An index without a network: one wheel of all, one of x86-64 only, and a source."""
    version = {
        line.split("==")[0]: line.split("==")[1]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith(("tqdm==", "pybullet=="))
    }
    write_wheel(tmp_path, "tqdm", version["tqdm"], "py3-none-any")
    write_wheel(tmp_path, "pybullet", version["pybullet"], "cp311-cp311-manylinux_2_17_x86_64")
    (tmp_path / f"pybullet-{version['pybullet']}.tar.gz").touch()
    ended = run_tool(
        *("list_wheels", "--python", "3.11", "pybullet", "tqdm"),
        **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull},
    )
    assert ended.returncode == 0, ended.stderr
    assert f"| pybullet | {version['pybullet']} | yes | source |" in ended.stdout
    assert f"A wheel for each Python and machine: tqdm {version['tqdm']}." in ended.stdout
