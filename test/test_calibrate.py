"""`invdyn calibrate`: a recording, or an arm and a camera that run, become the launch's file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_probe import Probe, state
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from invdyn_ros.arms.rendering import SceneCamera
from invdyn_ros.arms.scene import SCENES, believed_scene
from invdyn_ros.cli import run_verb
from invdyn_ros.config import load_yaml
from invdyn_ros.graph import resolve
from invdyn_ros.handeye.camera_pose import CameraPose, read_camera_pose, to_yaml
from invdyn_ros.handeye.pairs import inverse, pose
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.messages import block_to_message, to_stamp
from invdyn_ros.perception.blocks import BlockDetector, BlocksConfig
from invdyn_ros.robot import load_robot

UR5 = load_robot("ur5")
SCENE = SCENES["ur5"]
CAMERA = SCENE.camera.T_base_camera
HELD = pose(np.array([0.1, -0.2, 0.3]), np.array([0.0, 0.005, 0.01]))  # of the block on the tool
RATE, PICTURES = 50, 5  # [Hz] of joint states, and of them from picture to picture
REST, SHORT = 1.0, 0.5  # [s] of a recorded arm, of a live one
BLOCK = "/blocks/block_0"


def postures(n: int, seed: int = 0, reach: float = 0.5) -> np.ndarray:
    """Joints (n, 6) [rad] in which the tool is well within the camera's picture."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < n:
        q = UR5.home + rng.uniform(-reach, reach, 6) * [0.5, 0.5, 0.5, 1, 1, 1.5]
        T = UR5.forward_kinematics(q) @ HELD
        u, v = SCENE.camera.project(T[:3, 3])
        if 80 < u < 560 and 80 < v < 400 and T[2, 3] > 0.06:
            found.append(q)
    return np.array(found)


def serialized(stamp: int, q: np.ndarray = UR5.home) -> bytes:
    message = state(stamp, q)
    message.effort = [0.0] * len(q)  # rclpy adds bytes of its own where the last list is empty
    return serialize_message(message)


def block_seen(T: np.ndarray, stamp: int, covariance: np.ndarray) -> PoseWithCovarianceStamped:
    quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
    return block_to_message(T[:3, 3], quaternion, covariance, Header(stamp=to_stamp(stamp)))


def record(folder: Path, moves: np.ndarray, seen, start: int = 0) -> Path:
    """Record an arm that jumps from rest to rest; `seen(q)` gives pose and covariance, or None."""
    bag = BagWriter(folder)
    for k in range(round(len(moves) * REST * RATE)):
        stamp = start + k * 10**9 // RATE
        q = moves[int(k / RATE / REST)]
        bag.write("/joint_states", JointState, stamp, serialized(stamp, q))
        found = seen(q) if k % PICTURES == 0 else None
        if found is not None:
            raw = serialize_message(block_seen(found[0], stamp, found[1]))
            bag.write(BLOCK, PoseWithCovarianceStamped, stamp, raw)
    bag.close()
    return folder


def exact(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return inverse(CAMERA) @ UR5.forward_kinematics(q) @ HELD, np.zeros((6, 6))


def calibrated(*words: object) -> int:
    return run_verb("calibrate", [str(word) for word in words])


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "bag", postures(18), exact, 10**18)


def test_a_recording_becomes_the_file_that_the_launch_reads(recording, tmp_path, capsys) -> None:
    file, plot = tmp_path / "new" / "camera.yaml", tmp_path / "new" / "residuals.png"
    words = ("bag", recording, "--mounting", "beside", "--out", file, "--plot", plot)
    assert calibrated(*words) == 0
    np.testing.assert_allclose(read_camera_pose(file, "ur5").T, CAMERA, atol=1e-6)
    np.testing.assert_allclose(load_yaml(file)["marker_position"], HELD[:3, 3], atol=1e-6)
    assert plot.stat().st_size > 10_000
    shown = capsys.readouterr().out
    for words in ("in 18 poses", "RMS turn about the tool's x", "standard error", "held out:"):
        assert words in shown
    found = resolve("grasp_sim", {"camera_pose": str(file)})
    specs = {spec.name: spec.parameters for spec in found}
    assert specs["grasp"]["camera_pose"] == specs["report"]["camera_pose"] == str(file)
    assert not any("camera_pose" in specs[name] for name in ("simulator", "scene_camera"))
    believed = believed_scene("ur5", specs["grasp"]["camera_pose"])
    np.testing.assert_allclose(believed.camera.T_base_camera, CAMERA, atol=1e-6)
    assert believed.camera.focal == SCENE.camera.focal


def test_a_camera_on_the_hand_is_found_but_not_for_the_grasp(tmp_path) -> None:
    on_hand = pose(np.array([0.1, 0.0, 0.2]), np.array([0.05, 0.0, -0.1]))
    block = pose(np.zeros(3), np.array([0.5, 0.0, 0.02]))

    def seen(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return inverse(UR5.forward_kinematics(q) @ on_hand) @ block, np.zeros((6, 6))

    file = tmp_path / "camera.yaml"
    bag = record(tmp_path / "bag", postures(10), seen)
    assert calibrated("bag", bag, "--mounting", "hand", "--out", file) == 0
    read = load_yaml(file)
    assert read["mounting"] == "hand"
    np.testing.assert_allclose(read["position"], on_hand[:3, 3], atol=1e-6)
    np.testing.assert_allclose(read["marker_position"], block[:3, 3], atol=1e-6)
    with pytest.raises(ValueError, match="is of a camera on the hand; the grasp needs one that"):
        resolve("grasp_sim", {"camera_pose": str(file)})


def test_pictures_of_the_simulated_camera_tell_where_it_stands(tmp_path, capsys) -> None:
    """The block is drawn in the gripper, found by the detector, with the covariance it gives."""
    detector = BlockDetector(BlocksConfig(SCENE.block_size), SCENE.camera.intrinsics())
    cache: dict[bytes, tuple[np.ndarray, np.ndarray] | None] = {}
    with SceneCamera(UR5, SCENE) as camera:

        def seen(q: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
            if q.tobytes() not in cache:
                T = UR5.forward_kinematics(q) @ HELD
                found = detector.detect(camera.render(q, SCENE.block_size, T[None]))
                cache[q.tobytes()] = (
                    (found[0].T_camera_block, found[0].covariance) if found else None
                )
            return cache[q.tobytes()]

        bag = record(tmp_path / "bag", postures(25, reach=0.8), seen)
    file = tmp_path / "camera.yaml"
    assert calibrated("bag", bag, "--mounting", "beside", "--out", file) == 0
    error = inverse(CAMERA) @ read_camera_pose(file, "ur5").T
    assert np.linalg.norm(error[:3, 3]) < 2e-3
    assert Rotation.from_matrix(error[:3, :3]).magnitude() < np.radians(0.25)


def test_a_wrong_rest_is_named_and_left_out(tmp_path, capsys) -> None:
    moves = postures(16)

    def seen(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        T, covariance = exact(q)
        rng = np.random.default_rng(int(1e9 * np.abs(q).sum()))  # the same at each rest
        T = T @ pose(rng.normal(0, 3e-3, 3), rng.normal(0, 5e-4, 3))
        flipped = pose(np.array([0.0, 0.8, 0.0]), np.array([0.0, 0.02, 0.0]))
        return (T @ flipped if np.array_equal(q, moves[5]) else T), covariance

    file = tmp_path / "camera.yaml"
    bag = record(tmp_path / "bag", moves, seen)
    assert calibrated("bag", bag, "--mounting", "beside", "--out", file) == 0
    assert "left out pose 6, at 5." in capsys.readouterr().out
    assert load_yaml(file)["poses"] == 15


def turned(joint: int) -> np.ndarray:
    """Postures that differ in one joint."""
    moves = np.tile(UR5.home, (12, 1))
    moves[:, joint] += np.linspace(-0.5, 0.5, 12)
    return moves


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        (
            turned(5),
            "the poses turn the tool about its z axis only (RMS turn about the",
        ),
        (postures(4), "4 poses that differ; 6 are needed, 15 to 20 are good"),
        (np.tile(UR5.home, (12, 1)), "1 poses that differ"),
    ],
)
def test_poses_that_cannot_tell_are_refused_in_one_line(moves, message, tmp_path, capsys) -> None:
    file = tmp_path / "camera.yaml"
    bag = record(tmp_path / "bag", moves, exact)
    assert calibrated("bag", bag, "--mounting", "beside", "--out", file) == 2
    refused = capsys.readouterr().err
    assert message in refused and refused.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--mounting": "wall"}, "invalid choice"),
        ({"--arm": "ur3"}, "unknown arm 'ur3'"),
        ({"--arm": "dofbot"}, "no message has joint 'joint_1'; there are elbow_joint"),
        ({"--block": "3"}, "no topic /blocks/block_3 of type geometry_msgs/msg/PoseWithCovarianc"),
        ({"--joints": "/joints"}, "no topic /joints of type sensor_msgs/msg/JointState"),
        ({"--out": "camera.txt"}, "--out camera.txt is not a .yaml file"),
        ({"--plot": "a.pdf"}, "--plot a.pdf is not a .png file"),
        ({"--still": "0"}, "still is 0.0; it must be positive"),
    ],
)
def test_bad_input_is_one_line_and_code_two(recording, tmp_path, capsys, change, message) -> None:
    file = tmp_path / "camera.yaml"
    given = {"--mounting": "beside", "--out": str(file), **change}
    words = [word for pair in given.items() for word in pair]
    assert calibrated("bag", recording, *words) == 2
    refused = capsys.readouterr().err
    assert message in refused and refused.count("\n") == 1
    assert not file.exists() and not Path("camera.txt").exists()


def test_no_recording_and_time_that_starts_again_are_refused(tmp_path, capsys) -> None:
    words = ("--mounting", "beside", "--out", tmp_path / "camera.yaml")
    assert calibrated("bag", tmp_path / "none", *words) == 2
    assert "no such file or folder" in capsys.readouterr().err
    bag = BagWriter(tmp_path / "bag")
    for received, stamp in enumerate((10**9, 5 * 10**9, 10**9)):
        bag.write("/joint_states", JointState, received, serialized(stamp))
        raw = serialize_message(block_seen(np.eye(4), stamp, np.zeros((6, 6))))
        bag.write(BLOCK, PoseWithCovarianceStamped, received, raw)
    bag.close()
    assert calibrated("bag", tmp_path / "bag", *words) == 2
    refused = capsys.readouterr().err
    assert "/joint_states starts again: message 2 is stamped 1.000 s, after 5.000 s" in refused


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (
            CameraPose("dofbot", "beside", (1, 0, 0.5), (1, 0, 0, 0)),
            "is the camera of 'dofbot'",
        ),
        (None, "cannot read"),
    ],
)
def test_the_launch_refuses_a_wrong_file_before_any_node_starts(camera, message, tmp_path) -> None:
    file = tmp_path / "camera.yaml"
    if camera is not None:
        file.write_text(to_yaml(camera, "base_link"))
    with pytest.raises(ValueError, match=message):
        resolve("grasp_sim", {"camera_pose": str(file)})


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_arm_that_goes_from_rest_to_rest_is_calibrated_live(tmp_path, interrupted) -> None:
    """Through real topics; with Ctrl-C what was gathered counts."""
    moves = postures(10)
    file, kept = tmp_path / "camera.yaml", tmp_path / "kept"
    words = ["live", "--mounting", "beside", "--out", file, "--record", kept, "--no-detect"]
    words += ["--settle", "0.1", *([] if interrupted else ["--poses", "8"])]
    verb = subprocess.Popen(
        [sys.executable, "-u", "-m", "invdyn_ros", "calibrate", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    probe, over, lines = Probe(), threading.Event(), []
    joints = probe.node.create_publisher(JointState, "/joint_states", 10)
    blocks = probe.node.create_publisher(PoseWithCovarianceStamped, BLOCK, 10)

    def drive() -> None:
        k = 0
        while not over.wait(1 / RATE):
            if joints.get_subscription_count() and blocks.get_subscription_count():
                stamp = 10**18 + k * 10**9 // RATE
                q = moves[min(int(k / RATE / SHORT), len(moves) - 1)]
                joints.publish(state(stamp, q))
                if k % PICTURES == 0:
                    blocks.publish(block_seen(exact(q)[0], stamp, np.zeros((6, 6))))
                k += 1

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        for line in verb.stdout:
            lines.append(line)
            if interrupted and "pose 7: " in line:
                verb.send_signal(signal.SIGINT)
        assert verb.wait(30) == 0, "".join(lines)
    finally:
        over.set()
        driver.join()
        probe.close()
        verb.kill()
    shown = "".join(lines)
    np.testing.assert_allclose(read_camera_pose(file, "ur5").T, CAMERA, atol=1e-6)
    assert "deg; turn it by 20 to 40 deg about its " in shown and "held out: 0.00 mm" in shown
    again = tmp_path / "again.yaml"
    words = ("--mounting", "beside", "--settle", "0.1", "--out", again)
    assert calibrated("bag", kept, *words) == 0
    assert again.read_text() == file.read_text()
