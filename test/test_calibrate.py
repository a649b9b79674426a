"""`invdyn calibrate bag`: from a recording to the camera pose file of the launch graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from held_block import (
    BLOCK,
    CAMERA,
    SCENE,
    T_TOOL_BLOCK,
    UR5,
    block_message,
    exact_detection,
    record_bag,
    run_calibrate,
    sample_joints,
    serialize_joints,
)
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.config import load_yaml
from invdyn_ros.graph.graph import resolve
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.perception.hand_eye.camera_pose import (
    CameraPose,
    nominal_scene,
    read_camera_pose,
    to_yaml,
)
from invdyn_ros.perception.rigid_transforms import invert_transform, transform_from_rotvec


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return record_bag(
        tmp_path_factory.mktemp("recorded") / "bag", sample_joints(18), exact_detection, 10**18
    )


def test_recording_gives_calibration_file_for_launch(recording, tmp_path, capsys) -> None:
    file, plot = tmp_path / "new" / "camera.yaml", tmp_path / "new" / "residuals.png"
    arguments = ("bag", recording, "--mounting", "eye_to_hand", "--out", file, "--plot", plot)
    assert run_calibrate(*arguments) == 0
    np.testing.assert_allclose(read_camera_pose(file, "ur5").T, CAMERA, atol=1e-6)
    np.testing.assert_allclose(load_yaml(file)["marker_position"], T_TOOL_BLOCK[:3, 3], atol=1e-6)
    assert plot.stat().st_size > 10_000
    output = capsys.readouterr().out
    for text in ("in 18 poses", "RMS rotation about the tool's x", "standard error", "held out:"):
        assert text in output
    resolved = resolve("grasp_sim", {"camera_pose": str(file)})
    specs = {spec.name: spec.parameters for spec in resolved}
    assert specs["grasp"]["camera_pose"] == specs["report"]["camera_pose"] == str(file)
    assert not any("camera_pose" in specs[name] for name in ("simulator", "scene_camera"))
    nominal = nominal_scene("ur5", specs["grasp"]["camera_pose"])
    np.testing.assert_allclose(nominal.camera.T_base_camera, CAMERA, atol=1e-6)
    assert nominal.camera.focal == SCENE.camera.focal


def test_camera_on_the_hand_is_calibrated_but_refused_by_grasp(tmp_path) -> None:
    on_hand = transform_from_rotvec(np.array([0.1, 0.0, 0.2]), np.array([0.05, 0.0, -0.1]))
    block = transform_from_rotvec(np.zeros(3), np.array([0.5, 0.0, 0.02]))

    def detect(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return invert_transform(UR5.forward_kinematics(q) @ on_hand) @ block, np.zeros((6, 6))

    file = tmp_path / "camera.yaml"
    bag = record_bag(tmp_path / "bag", sample_joints(10), detect)
    assert run_calibrate("bag", bag, "--mounting", "eye_in_hand", "--out", file) == 0
    read = load_yaml(file)
    assert read["mounting"] == "eye_in_hand"
    np.testing.assert_allclose(read["position"], on_hand[:3, 3], atol=1e-6)
    np.testing.assert_allclose(read["marker_position"], block[:3, 3], atol=1e-6)
    with pytest.raises(ValueError, match="has mounting eye_in_hand, and the simulated camera eye"):
        resolve("grasp_sim", {"camera_pose": str(file)})
    real = {"camera_pose": str(file), "target": "real"}
    resolve("grasp_sim", real)
    with pytest.raises(ValueError, match="camera on the hand needs policy:=scripted"):
        resolve("grasp_sim", real | {"policy": "learned"})


def test_simulated_camera_is_calibrated_from_rendered_images(tmp_path, capsys) -> None:
    """The block is rendered in the gripper; the detector gives its pose and covariance."""
    detector = BlockDetector(BlockDetectorConfig(SCENE.block_size), SCENE.camera.intrinsics())
    cache: dict[bytes, tuple[np.ndarray, np.ndarray] | None] = {}
    with SceneRenderer(UR5, SCENE) as camera:

        def detect(q: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
            if q.tobytes() not in cache:
                T = UR5.forward_kinematics(q) @ T_TOOL_BLOCK
                detections = detector.detect(camera.render(q, SCENE.block_size, T[None]))
                cache[q.tobytes()] = (
                    (detections[0].T_camera_block, detections[0].covariance)
                    if detections
                    else None
                )
            return cache[q.tobytes()]

        bag = record_bag(tmp_path / "bag", sample_joints(25, reach=0.8), detect)
    file = tmp_path / "camera.yaml"
    assert run_calibrate("bag", bag, "--mounting", "eye_to_hand", "--out", file) == 0
    error = invert_transform(CAMERA) @ read_camera_pose(file, "ur5").T
    assert np.linalg.norm(error[:3, 3]) < 2e-3
    assert Rotation.from_matrix(error[:3, :3]).magnitude() < np.radians(0.25)


def test_outlier_pose_is_reported_and_rejected(tmp_path, capsys) -> None:
    joint_positions = sample_joints(16)

    def detect(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        T, covariance = exact_detection(q)
        rng = np.random.default_rng(int(1e9 * np.abs(q).sum()))  # the same at each static pose
        T = T @ transform_from_rotvec(rng.normal(0, 3e-3, 3), rng.normal(0, 5e-4, 3))
        flipped = transform_from_rotvec(np.array([0.0, 0.8, 0.0]), np.array([0.0, 0.02, 0.0]))
        return (T @ flipped if np.array_equal(q, joint_positions[5]) else T), covariance

    file = tmp_path / "camera.yaml"
    bag = record_bag(tmp_path / "bag", joint_positions, detect)
    assert run_calibrate("bag", bag, "--mounting", "eye_to_hand", "--out", file) == 0
    assert "rejected pose 6, at 5." in capsys.readouterr().out
    assert load_yaml(file)["num_poses"] == 15


def rotated_joint(joint: int) -> np.ndarray:
    """Return joint positions that differ in one joint."""
    joint_positions = np.tile(UR5.home, (12, 1))
    joint_positions[:, joint] += np.linspace(-0.5, 0.5, 12)
    return joint_positions


@pytest.mark.parametrize(
    ("joint_positions", "message"),
    [
        (
            rotated_joint(5),
            "the tool rotates about its z axis only (RMS rotation about the",
        ),
        (sample_joints(4), "4 distinct poses; 6 are needed, 15 to 20 recommended"),
        (np.tile(UR5.home, (12, 1)), "1 distinct poses"),
    ],
)
def test_poses_without_diversity_are_refused_in_one_line(
    joint_positions, message, tmp_path, capsys
) -> None:
    file = tmp_path / "camera.yaml"
    bag = record_bag(tmp_path / "bag", joint_positions, exact_detection)
    assert run_calibrate("bag", bag, "--mounting", "eye_to_hand", "--out", file) == 2
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
        (
            {"--joint-states-topic": "/joints"},
            "no topic /joints with states of joints",
        ),
        ({"--out": "camera.txt"}, "--out camera.txt is not a .yaml file"),
        ({"--plot": "a.pdf"}, "--plot a.pdf is not a .png file"),
        ({"--max-joint-velocity": "0"}, "max_joint_velocity is 0.0; it must be greater than 0"),
    ],
)
def test_invalid_input_is_one_line_and_exit_code_2(
    recording, tmp_path, capsys, change, message
) -> None:
    file = tmp_path / "camera.yaml"
    options = {"--mounting": "eye_to_hand", "--out": str(file), **change}
    arguments = [word for pair in options.items() for word in pair]
    assert run_calibrate("bag", recording, *arguments) == 2
    refused = capsys.readouterr().err
    assert message in refused and refused.count("\n") == 1
    assert not file.exists() and not Path("camera.txt").exists()


def test_missing_recording_and_restarted_time_are_refused(tmp_path, capsys) -> None:
    arguments = ("--mounting", "eye_to_hand", "--out", tmp_path / "camera.yaml")
    assert run_calibrate("bag", tmp_path / "none", *arguments) == 2
    assert "no such file or folder" in capsys.readouterr().err
    bag = BagWriter(tmp_path / "bag")
    for received, stamp in enumerate((10**9, 5 * 10**9, 10**9)):
        bag.write("/joint_states", JointState, received, serialize_joints(stamp))
        raw = serialize_message(block_message(np.eye(4), stamp, np.zeros((6, 6))))
        bag.write(BLOCK, PoseWithCovarianceStamped, received, raw)
    bag.close()
    assert run_calibrate("bag", tmp_path / "bag", *arguments) == 2
    refused = capsys.readouterr().err
    assert "/joint_states starts again: message 2 is stamped 1.000 s, after 5.000 s" in refused


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (
            CameraPose("dofbot", "eye_to_hand", (1, 0, 0.5), (1, 0, 0, 0)),
            "is the camera of 'dofbot'",
        ),
        (None, "cannot read"),
    ],
)
def test_launch_refuses_invalid_file_before_any_node_starts(camera, message, tmp_path) -> None:
    file = tmp_path / "camera.yaml"
    if camera is not None:
        file.write_text(to_yaml(camera, "base_link"))
    with pytest.raises(ValueError, match=message):
        resolve("grasp_sim", {"camera_pose": str(file)})
