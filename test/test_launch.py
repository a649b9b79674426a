import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from graph_specs import write_still_motion

from invdyn_ros.cli import VERBS, run_verb
from invdyn_ros.cli.launch import show_arguments
from invdyn_ros.graph.graph import GRAPHS
from invdyn_ros.graph.launch_arguments import launch_arguments
from invdyn_ros.graph.launcher import child_environment, launch
from invdyn_ros.graph.node_spec import NodeSpec

ROOT = Path(__file__).parents[1]
TIMEOUT = 30.0  # [s] before a test fails
NODE_PRINTING_PARAMETERS = """
import rclpy
rclpy.init()
node = rclpy.create_node("x", automatically_declare_parameters_from_overrides=True)
values = {n: node.get_parameter(n).value for n in ("flag", "count", "rate", "text", "digits")}
print(node.get_name(), sorted(values.items()))
"""
WAITING_NODE = "import signal, os; print('pid', os.getpid(), flush=True); signal.pause()"


@dataclass(frozen=True)
class LocalNode(NodeSpec):
    """A node whose module is a file written by the test."""

    @property
    def module(self) -> str:
        return self.executable


@pytest.fixture
def local_node(tmp_path):
    def make(name, source, **options):
        (tmp_path / f"local_{name}.py").write_text(source)
        path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        return LocalNode(name, f"local_{name}", environment=path, **options)

    return make


def invdyn(*arguments):
    call = "import sys; from invdyn_ros.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", call, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )


def test_node_gets_its_name_and_typed_parameters(local_node, capfd):
    values = {"flag": True, "count": 10, "rate": 10.0, "text": "a: 'b' #c", "digits": "007"}
    spec = local_node("named", NODE_PRINTING_PARAMETERS, parameters=values, ends_graph=True)
    assert launch([spec]) == 0
    assert f"[named] named {sorted(values.items())}" in capfd.readouterr().out


def test_failed_node_ends_all_nodes_with_its_code(local_node, capfd):
    waiting = local_node("waiting", WAITING_NODE)
    dying = local_node("dying", "import sys; print('no luck', flush=True); sys.exit(3)")
    assert launch([waiting, dying]) == 3
    output = capfd.readouterr()
    assert "[dying] no luck" in output.out and "dying ended with code 3" in output.err


def test_end_of_the_final_node_ends_the_run_with_code_0(local_node):
    nodes = [local_node("waiting", WAITING_NODE), local_node("report", "pass", ends_graph=True)]
    assert launch(nodes) == 0


def test_finished_node_leaves_the_other_nodes_running(local_node, capfd):
    done = local_node("done", "pass")
    last = local_node("last", "import time; time.sleep(0.5); print('last', flush=True)")
    assert launch([done, last]) == 0
    assert "[last] last" in capfd.readouterr().out


def test_run_goes_on_without_an_optional_node(local_node, capfd):
    failing = local_node("failing", "raise SystemExit(3)", is_optional=True)
    last = local_node("last", "import time; time.sleep(0.5); print('last', flush=True)")
    assert launch([failing, last]) == 0
    output = capfd.readouterr()
    assert "[last] last" in output.out
    assert output.err.count("failing ended with code 3; the run goes on") == 1


def test_second_graph_in_a_domain_and_namespace_is_refused_and_both_say_so(local_node, capfd):
    other = (
        "import sys\nfrom invdyn_ros.graph.graph_lock import GraphLock\n"
        "for name in ('/left', '/'):\n"
        "    try: GraphLock('{}', name)\n"
        "    except ValueError as error: print(error)\n"
    ).format(os.environ["ROS_DOMAIN_ID"])
    second = local_node("second", other, ends_graph=True)
    waiting = local_node("waiting", WAITING_NODE)
    assert launch([waiting, second]) == 0
    output = capfd.readouterr()
    place = f"domain {os.environ['ROS_DOMAIN_ID']}, namespace /"
    refusal = f"[second] a graph runs already in {place} (process {os.getpid()}); end it, or give "
    assert output.out.count("a graph runs already") == output.out.count(refusal) == 1
    assert output.err.count(f"a second graph in {place} was refused (process ") == 1
    assert launch([local_node("later", "pass")]) == 0, "the lock is released"


def test_lost_report_is_named_and_no_success(local_node, tmp_path, capfd):
    file = tmp_path / "report.json"
    file.write_text("of an earlier run")
    os.utime(file, (1, 1))
    parameters = {"report": str(file)}
    assert launch([local_node("silent", "pass", parameters=parameters, ends_graph=True)]) == 1
    assert f"the report is lost: {file} was not written" in capfd.readouterr().err
    writing = f"open({str(file)!r}, 'w').write('new')"
    assert launch([local_node("writing", writing, parameters=parameters, ends_graph=True)]) == 0


def test_nodes_are_discovered_on_this_machine_only_by_default():
    assert child_environment({})["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    values = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "OMP_NUM_THREADS": "4"}
    assert values.items() <= child_environment(values).items()


@pytest.mark.parametrize("graph", GRAPHS)
def test_show_args_lists_every_argument(graph, capsys):
    assert run_verb("launch", [graph, "--show-args"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == show_arguments(GRAPHS[graph]).strip()
    arguments = launch_arguments(GRAPHS[graph].arguments)
    assert all(f" {argument.name}:=" in text for argument in arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected the name of one graph"),
        (["teleop", "--fast"], "unknown option --fast"),
        (["teleop", "vidoe:=a.mp4"], "unknown field 'vidoe'"),
        (["teleop", "arm:=ur3"], "unknown arm 'ur3'; known arms are ur5, "),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, capsys):
    assert run_verb("launch", arguments) == 2
    out, error = capsys.readouterr()
    assert message in error and error.count("\n") == 1 and not out


def test_unknown_verb_is_one_line_and_code_2():
    ended = invdyn("lunch")
    assert ended.returncode == 2 and not ended.stdout and ended.stderr.count("\n") == 1
    assert "invdyn: no verb 'lunch'; there are launch, " in ended.stderr


def test_help_lists_every_verb():
    output = invdyn("--help")
    assert output.returncode == 0
    for verb in VERBS:
        assert f"  {verb} " in output.stdout
        assert importlib.util.find_spec(f"invdyn_ros.cli.{verb}") is not None


def test_every_graph_has_a_launch_file():
    files = {file.name for file in (ROOT / "launch").glob("*.launch.py")}
    assert files == {f"{graph}.launch.py" for graph in GRAPHS}


@pytest.mark.parametrize("graph", GRAPHS)
def test_launch_file_declares_the_arguments_and_starts_the_nodes(graph, tmp_path):
    launch_ros = pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI")
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument

    spec = importlib.util.spec_from_file_location(graph, ROOT / "launch" / f"{graph}.launch.py")
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    context = LaunchContext()
    (tmp_path / "meta.json").write_text(json.dumps({"robot": "ur5", "action_unit": "N m"}))
    context.launch_configurations["checkpoint"] = str(tmp_path)
    if graph == "play_motion":
        write_still_motion(tmp_path / "motion.npz", "ur5")
        context.launch_configurations |= {
            "motion": str(tmp_path / "motion.npz"), "out": str(tmp_path / "data")
        }  # fmt: skip
    *declared, opaque = file.generate_launch_description().entities
    assert all(isinstance(action, DeclareLaunchArgument) for action in declared)
    for action in declared:
        action.execute(context)
    assert [a.name for a in declared] == [
        a.name for a in launch_arguments(GRAPHS[graph].arguments)
    ]
    started = opaque.execute(context)
    assert all(isinstance(action, launch_ros.actions.Node) for action in started)
    assert {a.node_executable for a in started} >= {"inverse_dynamics", "simulator"}
