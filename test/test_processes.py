"""Processes of a launch: signals, exit codes, and no process that stays."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import Probe

from invdyn_ros.graph.launcher import child_environment
from invdyn_ros.graph.processes import LAUNCHER_VARIABLE, Processes

ROOT = Path(__file__).parents[1]
TIMEOUT = 30.0  # [s] before a test fails
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
