"""Commands for a running graph: ping, jog and stop."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from invdyn_ros.cli import run_verb
from invdyn_ros.nodes import graph_status
from invdyn_ros.nodes.graph_status import GraphStatus


@contextmanager
def running(*words):
    """Launch a graph, and end it afterwards."""
    command = [sys.executable, "-m", "invdyn_ros", "launch", *words]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def output_of(capsys, verb, *words):
    """Return the exit code of a verb, and what it printed."""
    code = run_verb(verb, list(words))
    return code, "".join(capsys.readouterr())


@pytest.mark.slow
def test_arm_is_jogged_pinged_and_stopped(capsys):
    with running("grasp_sim", "arm:=dofbot", "policy:=none", "engage:=true"):
        code, text = output_of(capsys, "jog", "joint_2", "-0.1")
        assert code == 0 and "joint_2 is at" in text
        before = float(text.split()[-2])
        code, text = output_of(capsys, "jog", "joint_2", "-0.1")
        assert code == 0 and float(text.split()[-2]) == pytest.approx(before - 0.1, abs=0.005)
        code, text = output_of(capsys, "jog", "gripper", "0.02")
        assert code == 0 and "gripper commanded to 0.020 m" in text
        code, text = output_of(capsys, "jog", "elbow", "0.1")
        assert code == 2 and "no joint 'elbow'; the arm has joint_1, joint_2" in text
        assert output_of(capsys, "stop")[0] == 0
        code, text = output_of(capsys, "ping")
        (status,) = [line for line in text.splitlines() if line.startswith("inverse_dynamics")]
        assert status.split() == ["inverse_dynamics", "warning", "stopped"]
        assert code == 0 and "joint states" in text and "per s" in text


def test_ping_without_a_graph_says_where_it_looked(capsys, monkeypatch):
    monkeypatch.setattr(graph_status, "TIMEOUT", 0.5)
    code, text = output_of(capsys, "ping")
    assert code == 2
    assert f"nobody answers on /joint_states in domain {os.environ['ROS_DOMAIN_ID']}" in text


def test_graph_is_faulty_with_an_error_or_without_joint_states():
    fine = {"simulator": ("ok", "ok"), "inverse_dynamics": ("warning", "stopped")}
    assert not GraphStatus(fine, 50.0, 0.01).is_faulty
    assert GraphStatus(fine, 0.0, float("nan")).is_faulty
    assert GraphStatus(fine | {"dofbot": ("error", "no board")}, 50.0, 0.01).is_faulty
