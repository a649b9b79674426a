import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "invdyn_ros"

# lowest first; a module imports from its own layer and from those below
LAYERS = (
    "quiet trajectory leak urdf registry robot newton_euler dynamics kinematics filters config "
    "calibration pictures pool scores",
    "windows dataset episode_tables lerobot models perception handeye workspace retarget control "
    "arms",
    "sources grasp evaluation recording replay report teleop_report grasp_report plot "
    "lead parallel run_state optimiser descent training_log training "
    "comparison standings tracking labelling planning paths",
    "learned arguments graph",
    "benchmarks cli nodes",
    "__main__",
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
ROS = {
    "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs", "launch", "launch_ros",
    "rcl_interfaces", "rclpy", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs", "tf2_ros",
    "trajectory_msgs", "visualization_msgs",
}  # fmt: skip

FILES = sorted(ROOT.rglob("*.py"))


def unit(file):
    """Name of the module or package right below invdyn_ros that a file belongs to."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(file):
    """Names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides its layer"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down_the_layers(file):
    if unit(file) == "__init__":
        assert not list(imports(file))
        return
    assert unit(file) in LAYER, f"'{unit(file)}' belongs to no layer; add it to LAYERS"
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "invdyn_ros" and len(parts) > 1 and parts[1] in LAYER:
            assert LAYER[parts[1]] <= LAYER[unit(file)], f"{unit(file)} must not import {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_nodes_know_ros(file):
    if unit(file) != "nodes":
        used = {name.split(".")[0] for name in imports(file)} & ROS
        assert not used, f"{file.name} imports {', '.join(used)}; only nodes/ and launch/ may"


def test_cli_and_nodes_do_not_import_each_other():
    for file in FILES:
        other = {"cli": "invdyn_ros.nodes", "nodes": "invdyn_ros.cli"}.get(unit(file))
        assert other is None or not [n for n in imports(file) if n.startswith(other)], file
