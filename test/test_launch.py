import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import Probe

from invdyn_ros.cli import VERBS
from invdyn_ros.cli.launch import show_arguments
from invdyn_ros.graph.arguments import launch_arguments
from invdyn_ros.graph.graph import GRAPHS
from invdyn_ros.graph.launcher import child_environment, launch
from invdyn_ros.graph.node_spec import NodeSpec
from invdyn_ros.graph.processes import LAUNCHER_VARIABLE, Processes

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
NODE_IGNORING_SIGNALS = (
    "import signal, os; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN)\n"
    "print('pid', os.getpid(), flush=True)\nwhile True: signal.pause()"
)
NODE_WRITING_A_REPORT = """
import os, signal, sys
signal.signal(15, lambda *_: print("ended by", sys.stdin.read(), flush=True))
signal.signal(2, lambda *_: print("skipping the plots", flush=True))
print("pid", os.getpid(), flush=True)
while True: signal.pause()
"""
NODE_WITH_CHILD = (
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITING_NODE!r}])"
)


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


def run_group(group, *scripts):
    """Start scripts as processes of a group."""
    for number, script in enumerate(scripts):
        group.start(
            f"p{number}", [sys.executable, "-c", script], child_environment(os.environ), False
        )


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def has_ended(pid):
    """Wait until a process that is not our child has ended."""
    deadline = time.monotonic() + TIMEOUT
    while is_running(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not is_running(pid)


def start_launcher(*scripts):
    """Run p0, p1... as a group in a new process; return that and the pids of the group."""
    source = (
        "import os, sys\nfrom invdyn_ros.graph.processes import Processes\n"
        "with Processes() as group:\n"
        f"    for number, script in enumerate({scripts!r}):\n"
        f"        ends_group = script == {NODE_WRITING_A_REPORT!r}\n"
        "        command = [sys.executable, '-c', script]\n"
        "        group.start(f'p{number}', command, os.environ, ends_group)\n"
        "    sys.exit(group.wait())\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    lines = sorted(launcher.stdout.readline() for _ in scripts)  # they come in any order
    return launcher, [int(line.split()[-1]) for line in lines]


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


def test_output_without_a_newline_is_printed(capfd):
    with Processes() as group:
        run_group(group, "print('one'); print('two', end='')")
        assert group.wait() == 0
    assert capfd.readouterr().out == "[p0] one\n[p0] two\n"


def test_process_killed_by_a_signal_ends_the_group_with_the_code_of_a_shell():
    with Processes() as group:
        run_group(group, WAITING_NODE, "import os; os.kill(os.getpid(), 9)")
        assert group.wait() == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_every_process_and_its_children(number):
    launcher, pids = start_launcher(WAITING_NODE, NODE_WITH_CHILD)
    launcher.send_signal(number)
    assert launcher.wait(TIMEOUT) == 128 + number
    assert all(has_ended(pid) for pid in pids)


def test_second_interrupt_spares_the_report_and_a_third_one_kills_it():
    """The process that ends the group reads why the run ended, and is told of the second one."""
    launcher, (pid, report) = start_launcher(NODE_IGNORING_SIGNALS, NODE_WRITING_A_REPORT)
    launcher.send_signal(signal.SIGINT)
    assert launcher.stdout.readline() == "[p1] ended by SIGINT\n"
    launcher.send_signal(signal.SIGINT)
    assert launcher.stdout.readline() == "[p1] skipping the plots\n"
    assert has_ended(pid) and is_running(report) and launcher.poll() is None
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(TIMEOUT) == 128 + signal.SIGINT
    assert not is_running(report)


def test_lost_report_is_named_and_no_success(local_node, tmp_path, capfd):
    file = tmp_path / "report.json"
    file.write_text("of an earlier run")
    os.utime(file, (1, 1))
    parameters = {"report": str(file)}
    assert launch([local_node("silent", "pass", parameters=parameters, ends_graph=True)]) == 1
    assert f"the report is lost: {file} was not written" in capfd.readouterr().err
    writing = f"open({str(file)!r}, 'w').write('new')"
    assert launch([local_node("writing", writing, parameters=parameters, ends_graph=True)]) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full of Linux")
def test_run_goes_on_when_its_output_cannot_be_written():
    source = (
        "import os, sys\nfrom invdyn_ros.graph.processes import Processes\n"
        "with Processes() as group:\n"
        "    script = 'import time; print(1, flush=True); time.sleep(0.3); raise SystemExit(7)'\n"
        "    group.start('p', [sys.executable, '-c', script], os.environ, False)\n"
        "    sys.exit(group.wait())\n"
    )
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", source]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert ended.returncode == 7 and "Traceback" not in ended.stderr
    assert ended.stderr.count("no more output: [Errno 28]") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl of Linux")
def test_no_process_outlives_a_killed_launcher():
    launcher, pids = start_launcher(WAITING_NODE, WAITING_NODE)
    launcher.kill()
    launcher.wait(TIMEOUT)
    assert all(has_ended(pid) for pid in pids)


NODE = [sys.executable, "-m", "invdyn_ros.nodes.retarget"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl of Linux")
def test_node_ends_with_the_launcher_of_ros2_that_is_killed():
    source = (
        "import os, subprocess\n"
        f"environment = {{**os.environ, {LAUNCHER_VARIABLE!r}: str(os.getpid())}}\n"
        f"node = subprocess.Popen({NODE!r}, env=environment)\n"
        "print(node.pid, flush=True)\nnode.wait()\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    pid = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait(TIMEOUT)
    assert has_ended(pid)


def test_interrupted_node_ends_without_words_while_it_starts_and_while_it_runs():
    """A launcher blocks the signal until the node takes it; Python would print a traceback."""

    def start():
        block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, [signal.SIGINT])
        return subprocess.Popen(
            NODE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            preexec_fn=block,
        )  # fmt: skip

    starting = start()
    starting.send_signal(signal.SIGINT)
    assert starting.communicate(timeout=TIMEOUT)[0] == ""
    assert starting.returncode == -signal.SIGINT
    running, probe = start(), Probe()
    probe.wait_until(lambda: "retarget" in probe.node.get_node_names())
    status = probe.node.create_subscription(DiagnosticArray, "/diagnostics", lambda _: None, 10)
    probe.wait_until(lambda: status.get_publisher_count() > 0)
    probe.executor.spin_once(timeout_sec=2.0)  # its loop runs: it tells its state once a second
    running.send_signal(signal.SIGINT)
    assert "Traceback" not in running.communicate(timeout=TIMEOUT)[0]
    assert running.returncode == 0
    probe.close()


def test_nodes_are_discovered_on_this_machine_only_by_default():
    assert child_environment({})["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    values = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "OMP_NUM_THREADS": "4"}
    assert values.items() <= child_environment(values).items()


@pytest.mark.parametrize("graph", GRAPHS)
def test_show_args_lists_every_argument(graph):
    output = invdyn("launch", graph, "--show-args")
    assert (
        output.returncode == 0 and output.stdout.strip() == show_arguments(GRAPHS[graph]).strip()
    )
    assert all(
        f" {argument.name}:=" in output.stdout
        for argument in launch_arguments(GRAPHS[graph].arguments)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lunch"], "invdyn: no verb 'lunch'; there are launch, "),
        (["launch"], "expected the name of one graph"),
        (["launch", "teleop", "--fast"], "unknown option --fast"),
        (["launch", "teleop", "vidoe:=a.mp4"], "unknown field 'vidoe'"),
        (["launch", "teleop", "arm:=ur3"], "unknown arm 'ur3'; known arms are ur5, "),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message):
    ended = invdyn(*arguments)
    assert ended.returncode == 2 and not ended.stdout
    assert message in ended.stderr and ended.stderr.count("\n") == 1


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
    *declared, opaque = file.generate_launch_description().entities
    assert all(isinstance(action, DeclareLaunchArgument) for action in declared)
    for action in declared:
        action.execute(context)
    assert [a.name for a in declared] == [
        a.name for a in launch_arguments(GRAPHS[graph].arguments)
    ]
    started = opaque.execute(context)
    assert all(isinstance(action, launch_ros.actions.Node) for action in started)
    assert {a.node_executable for a in started} >= {"inverse_dynamics", "simulator", "report"}
