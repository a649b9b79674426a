"""Motions that an arm follows in a graph of their own."""

import subprocess

import numpy as np
import pytest
from oracle import robot
from test_motion_player import nod

from invdyn_ros.evaluation.launched_arm import LaunchedArm

ARM = robot("ur5")
FAILED = subprocess.CompletedProcess([], 1)


@pytest.mark.slow
def test_arm_of_a_graph_follows_a_motion_and_its_recording_is_returned(tmp_path):
    motion = nod(ARM)
    run = LaunchedArm(ARM, ["engage:=true"], tmp_path).run(motion, None)
    assert run.trajectory.action_unit == "N m" and (tmp_path / "motion_1").is_dir()
    np.testing.assert_allclose(run.reference[0, :6], motion.q[0], atol=0.01)
    moved = np.ptp(run.trajectory.position, axis=0)
    np.testing.assert_allclose(moved, np.ptp(motion.q, axis=0), rtol=0.05)
    assert 0 < run.rms < 0.01


def test_graph_that_does_not_start_is_an_error_with_its_code(tmp_path, capfd):
    arm = LaunchedArm(ARM, ["target:=moon"], tmp_path)
    with pytest.raises(ValueError, match=r"play_motion' ended with code 2 during motion 1"):
        arm.run(nod(ARM), None)
    assert "target is 'moon'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "drives"),
    [((), True), (("target:=real",), False), (("checkpoint:=other",), False)],
)
def test_identified_torques_drive_an_arm_that_takes_torques(
    arguments, drives, tmp_path, monkeypatch
):
    """The shipped model of a real ur5 gives setpoints."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: commands.append(words) or FAILED)
    with pytest.raises(ValueError, match="ended with code 1"):
        LaunchedArm(ARM, arguments, tmp_path).run(nod(ARM), tmp_path)
    assert (f"checkpoint:={tmp_path}" in commands[0]) == drives
