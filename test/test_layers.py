import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "invdyn_ros"

# lowest first; a package imports from itself and from those on floors below
LAYERS = (
    "config dask_cluster native_output typing",
    "workers",
    "robots data",
    "models perception teleop",
    "arms control training",
    "grasp",
    "graph sources",
    "evaluation",
    "benchmarks nodes",
    "cli",
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
LOOSE = {"config", "dask_cluster", "native_output", "typing", "workers", "__main__"}
MAX_PACKAGES = 15
ROS = {
    "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs", "launch", "launch_ros",
    "rcl_interfaces", "rclpy", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs",
    "trajectory_msgs", "visualization_msgs",
}  # fmt: skip

FILES = sorted(ROOT.rglob("*.py"))


def unit(file):
    """Name of the module or package right below invdyn_ros that a file belongs to."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imports(file):
    """Names of all modules that a file imports, wherever in it."""
    return list(imported(file))


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides its layer"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def units_below(file):
    """Names of the other modules and packages of invdyn_ros that a file imports from."""
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "invdyn_ros" and len(parts) > 1 and parts[1] in LAYER:
            yield parts[1]


def test_imports_go_down_the_layers():
    upward = []
    assert not list(units_below(ROOT / "__init__.py"))
    for file in (f for f in FILES if unit(f) not in ("__init__", "__main__")):
        assert unit(file) in LAYER, f"'{unit(file)}' belongs to no layer; add it to LAYERS"
        for name in units_below(file):
            if LAYER[name] >= LAYER[unit(file)] and name != unit(file):
                upward.append(f"{file.relative_to(ROOT)} must not import {name}")
    assert not upward


def test_packages_are_few_and_documented():
    packages = {path.parent for path in ROOT.rglob("__init__.py")} - {ROOT}
    top = {path for path in packages if path.parent == ROOT}
    assert len(top) <= MAX_PACKAGES
    assert {path.stem for path in ROOT.glob("*.py")} - {"__init__"} <= LOOSE
    for folder in {file.parent for file in FILES} - {ROOT}:
        assert folder in packages, f"{folder} has no __init__.py"
        first = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
        assert first, f"{folder} has no docstring"


def test_no_package_or_subpackage_imports_itself_through_others():
    @cache
    def below(package):
        """Packages and subpackages that one imports from."""
        names = {n for f in package.glob("*.py") for n in imports(f) if "invdyn_ros." in n}
        targets = (ROOT.parent.joinpath(*name.split(".")) for name in names)
        parents = {t if t.is_dir() else t.parent for t in targets}
        return {p for p in parents if p.is_relative_to(ROOT)} - {package, ROOT}

    def walk(package, path):
        assert package not in path, " -> ".join(p.name for p in [*path, package])
        for other in below(package):
            if other not in done:
                walk(other, [*path, package])
        done.add(package)

    done = set()
    for folder in sorted({file.parent for file in FILES} - {ROOT}):
        walk(folder, [])


def test_only_nodes_know_ros():
    outside = [file for file in FILES if unit(file) != "nodes"]
    used = {str(f.relative_to(ROOT)): {n.split(".")[0] for n in imports(f)} & ROS for f in outside}
    assert not {file: names for file, names in used.items() if names}
