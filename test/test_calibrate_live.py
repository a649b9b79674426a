"""`invdyn calibrate live`: from a running arm and camera to the camera pose file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from held_block import (
    BLOCK,
    CAMERA,
    RATE,
    TICKS_PER_IMAGE,
    block_message,
    exact_detection,
    run_calibrate,
    sample_joints,
)
from node_probe import Probe, state
from sensor_msgs.msg import JointState

from invdyn_ros.perception.hand_eye.camera_pose import read_camera_pose

REST_SECONDS = 0.3  # [s]


@contextmanager
def running_arm(joint_positions: np.ndarray) -> Iterator[None]:
    """Publish the joint states of an arm that jumps between poses, and the block it holds."""
    probe, over = Probe(), threading.Event()
    joints = probe.node.create_publisher(JointState, "/joint_states", 10)
    blocks = probe.node.create_publisher(PoseWithCovarianceStamped, BLOCK, 10)

    def drive() -> None:
        k = 0
        while not over.wait(1 / RATE):
            if joints.get_subscription_count() and blocks.get_subscription_count():
                stamp = 10**18 + k * 10**9 // RATE
                q = joint_positions[int(k / RATE / REST_SECONDS) % len(joint_positions)]
                joints.publish(state(stamp, q))
                if k % TICKS_PER_IMAGE == 0:
                    blocks.publish(block_message(exact_detection(q)[0], stamp, np.zeros((6, 6))))
                k += 1

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        yield
    finally:
        over.set()
        driver.join()
        probe.close()


def calibrate_live(*arguments: object, interrupted: bool) -> str:
    """Calibrate in another process and return its output.

    Args:
        *arguments: arguments of the command.
        interrupted: whether Ctrl-C is sent after seven poses.
    """
    verb = subprocess.Popen(
        [sys.executable, "-u", "-m", "invdyn_ros", "calibrate", "live", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    lines = []
    try:
        for line in verb.stdout:
            lines.append(line)
            pose = re.search(r"pose (\d+): ", line)  # some are reported together
            if interrupted and pose and int(pose[1]) >= 7:
                verb.send_signal(signal.SIGINT)
                interrupted = False
        assert verb.wait(30) == 0, "".join(lines)
    finally:
        verb.kill()
    return "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [False, True])
def test_running_arm_is_calibrated_live(tmp_path, interrupted) -> None:
    """The topics are real; after Ctrl-C, the poses so far are used."""
    file, recorded = tmp_path / "camera.yaml", tmp_path / "kept"
    arguments = ["--mounting", "eye_to_hand", "--out", file, "--record", recorded, "--no-detect"]
    arguments += ["--settling-time", "0.1", *([] if interrupted else ["--poses", "8"])]
    with running_arm(sample_joints(14)):
        output = calibrate_live(*arguments, interrupted=interrupted)
    np.testing.assert_allclose(read_camera_pose(file, "ur5").T, CAMERA, atol=1e-6)
    assert "deg; rotate it by 20 to 40 deg about its " in output and "held out: 0.00 mm" in output
    again = tmp_path / "again.yaml"
    arguments = ("--mounting", "eye_to_hand", "--settling-time", "0.1", "--out", again)
    assert run_calibrate("bag", recorded, *arguments) == 0
    assert again.read_text() == file.read_text()
