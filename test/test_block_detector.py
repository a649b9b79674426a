"""Detection of blocks in rendered images: poses, covariances, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.pybullet_scene import _apply_marker_texture
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.benchmarks.lens_images import render_cube
from invdyn_ros.perception import block_overlay
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
    BlockPose,
)
from invdyn_ros.perception.block_pose_in_base import block_pose_in_base
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.rigid_transforms import rigid_transform, rotation_angle
from invdyn_ros.robots.block_markers import BlockMarkers, default_markers
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import SceneBlock, block_pose

NUM_IMAGES = 60  # of each arm
ARMS = ("ur5", "dofbot")


class Sample:
    """True and detected poses of blocks at random positions in the scene of one arm."""

    def __init__(self, arm: str, seed: int = 3) -> None:
        scene, robot = load_scene(arm), load_robot(arm)
        rng = np.random.default_rng(seed)
        self.detector = BlockDetector(
            BlockDetectorConfig(scene.block_size), scene.camera.intrinsics()
        )
        self.T_base_camera = scene.camera.T_base_camera
        self.true_poses = [scene.sample_block_pose(rng) for _ in range(NUM_IMAGES)]
        with SceneRenderer(robot, scene) as camera:
            self.images = [camera.render(robot.home, 0.05, T[None]) for T in self.true_poses]
        self.detections = [self.detector.detect(image) for image in self.images]

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return errors (n, 6) in the base frame [m, rad], and normalized squares (n,)."""
        errors, normalised = [], []
        for T_true, (pose,) in zip(self.true_poses, self.detections, strict=True):
            T, covariance = block_pose_in_base(
                pose.T_camera_block, pose.covariance, self.T_base_camera
            )
            rotation = Rotation.from_matrix(T[:3, :3] @ T_true[:3, :3].T).as_rotvec()
            error = np.concatenate([T[:3, 3] - T_true[:3, 3], rotation])
            errors.append(error)
            normalised.append(error @ np.linalg.solve(covariance, error) / 6)
        return np.array(errors), np.array(normalised)


@pytest.fixture(scope="module", params=ARMS)
def sample(request: pytest.FixtureRequest) -> Iterator[Sample]:
    yield Sample(request.param)


def test_every_block_in_the_area_is_detected(sample: Sample) -> None:
    assert [len(detection) for detection in sample.detections] == [1] * NUM_IMAGES


def test_pose_error_is_below_two_millimetres_and_three_degrees(sample: Sample) -> None:
    errors, _ = sample.errors()
    distance = np.linalg.norm(errors[:, :3], axis=1)
    angle = np.degrees(np.linalg.norm(errors[:, 3:], axis=1))
    assert np.percentile(distance, 95) < 2e-3
    assert np.percentile(angle, 95) < 3.0


def test_pose_from_two_visible_faces_is_never_flipped(sample: Sample) -> None:
    errors, _ = sample.errors()
    faces = np.array([len(pose.marker_ids) for (pose,) in sample.detections])
    assert np.mean(faces >= 2) > 0.9
    assert np.degrees(np.linalg.norm(errors[faces >= 2, 3:], axis=1)).max() < 10.0


def test_markers_are_large_enough_to_refine(sample: Sample) -> None:
    sides = [
        np.linalg.norm(pose.corners - np.roll(pose.corners, 1, axis=1), axis=2).max()
        for (pose,) in sample.detections
    ]
    assert np.median(sides) > 50.0


def test_covariance_is_symmetric_and_positive(sample: Sample) -> None:
    for (pose,) in sample.detections:
        np.testing.assert_array_equal(pose.covariance, pose.covariance.T)
        assert np.linalg.eigvalsh(pose.covariance).min() > 0.0


def test_covariance_matches_the_size_of_the_errors(sample: Sample) -> None:
    _, normalised = sample.errors()
    assert 1 / 3 < normalised.mean() < 3.0


def test_block_with_hidden_face_is_detected(sample: Sample) -> None:
    (pose,), T_true = sample.detections[0], sample.true_poses[0]
    image = sample.images[0].copy()
    hidden = np.round(pose.corners[0]).astype(np.int32)
    cv2.fillConvexPoly(image, hidden, (60, 60, 60))
    (partial,) = sample.detector.detect(image)
    assert set(partial.marker_ids) == set(pose.marker_ids) - {pose.marker_ids[0]}
    T, _ = block_pose_in_base(partial.T_camera_block, partial.covariance, sample.T_base_camera)
    assert np.linalg.norm(T[:3, 3] - T_true[:3, 3]) < 5e-3
    assert np.trace(partial.covariance) > np.trace(pose.covariance)


def test_overlay_draws_on_a_copy(sample: Sample) -> None:
    image = sample.images[0].copy()
    overlay = sample.detector.draw(image, sample.detections[0])
    np.testing.assert_array_equal(image, sample.images[0])
    changed = np.argwhere(np.any(overlay != image, axis=2))[:, ::-1]
    assert len(changed) > 500
    centre = sample.detections[0][0].corners.reshape(-1, 2).mean(axis=0)
    assert np.linalg.norm(changed - centre, axis=1).max() < 260.0


def test_unknown_ids_are_ignored() -> None:
    scene = replace(load_scene("ur5"), num_blocks=2, pixel_noise=0.0)
    poses = np.array([block_pose(0.45, -0.06, 0.02, 0.3), block_pose(0.47, 0.05, 0.02, 1.0)])
    robot = load_robot("ur5")
    with SceneRenderer(robot, scene) as camera:
        image = camera.render(robot.home, 0.05, poses)
    intrinsics = scene.camera.intrinsics()
    one, two = (
        BlockDetector(BlockDetectorConfig(markers=default_markers(n)), intrinsics) for n in (1, 2)
    )
    assert [pose.block_id for pose in one.detect(image)] == [0]
    detection = two.detect(image)
    assert [pose.block_id for pose in detection] == [0, 1]
    for pose, T_true in zip(detection, poses, strict=True):
        T, _ = block_pose_in_base(pose.T_camera_block, pose.covariance, scene.camera.T_base_camera)
        assert np.linalg.norm(T[:3, 3] - T_true[:3, 3]) < 3e-3


@pytest.mark.parametrize("dictionary", ["DICT_4X4_100", "DICT_5X5_50", "DICT_APRILTAG_36h11"])
def test_blocks_with_other_markers_have_exact_poses(dictionary: str) -> None:
    """Also with blank faces, and with the markers in any order."""
    ids = ((29, 3, 28, None, 12, 5), (7, None, None, None, None, None))
    blocks = tuple(SceneBlock(f"{i}", BlockMarkers(i, dictionary), (0.4, 0.0, 0.02)) for i in ids)
    scene = replace(load_scene("ur5"), num_blocks=2, blocks=blocks, pixel_noise=0.0)
    poses = np.array([block_pose(0.45, -0.06, 0.02, 0.3), block_pose(0.47, 0.05, 0.02, 1.0)])
    robot = load_robot("ur5")
    with SceneRenderer(robot, scene) as camera:
        image = camera.render(robot.home, 0.05, poses)
    config = BlockDetectorConfig(markers=scene.markers)
    detection = BlockDetector(config, scene.camera.intrinsics()).detect_with_problems(image)
    assert [pose.block_id for pose in detection.poses] == [0, 1]
    assert not detection.unknown_markers and detection.poses[1].marker_ids.tolist() == [7]
    for pose, T_true in zip(detection.poses, poses, strict=True):
        T, _ = block_pose_in_base(pose.T_camera_block, pose.covariance, scene.camera.T_base_camera)
        assert np.linalg.norm(T[:3, 3] - T_true[:3, 3]) < 3e-3
        assert rotation_angle(T, T_true) < np.radians(3)


def test_error_names_a_marker_that_two_blocks_share() -> None:
    with pytest.raises(ValueError, match="marker 2 is on 2 faces"):
        BlockDetectorConfig(markers=(BlockMarkers(), BlockMarkers((2, 7, 8, 9, 10, 11))))
    with pytest.raises(ValueError, match="use one dictionary"):
        BlockDetectorConfig(markers=(BlockMarkers(), BlockMarkers(dictionary="DICT_5X5_50")))
    with pytest.raises(ValueError, match="no marker 50 in DICT_4X4_50"):
        BlockMarkers((50, None, None, None, None, None))


@pytest.mark.parametrize("arm", ARMS)
def test_two_blocks_with_one_id_are_both_ignored(arm: str) -> None:
    """Even side by side, and for any visible faces."""
    scene, robot, rng = (
        replace(load_scene(arm), num_blocks=2),
        load_robot(arm),
        np.random.default_rng(5),
    )
    detector = BlockDetector(BlockDetectorConfig(scene.block_size), scene.camera.intrinsics())
    with SceneRenderer(robot, scene) as camera:
        _apply_marker_texture(
            camera.client, camera.blocks[1], BlockMarkers()
        )  # the second block is a copy of the first
        for k, rotation in enumerate(Rotation.create_group("O")):
            center = np.mean(scene.area_x), np.mean(scene.area_y), scene.block_size / 2
            one = block_pose(*center, rng.uniform(-np.pi, np.pi))
            other = one.copy()
            other[:3, :3] = one[:3, :3] @ rotation.as_matrix()
            side = [1.02, 0.0] if k % 2 else [0.0, -1.02]
            other[:3, 3] += scene.block_size * one[:3, :2] @ side
            detection = detector.detect_with_problems(
                camera.render(robot.home, 0.05, np.stack([one, other]))
            )
            assert detection.duplicate_ids == (0,) and not detection.poses
    assert "two blocks with id 0" in (detection.describe_problem(detector.config) or "")


def test_one_block_is_never_reported_as_duplicate(sample: Sample) -> None:
    detector = sample.detector
    for image in sample.images:
        assert detector.detect_with_problems(image).describe_problem(detector.config) is None


def test_unknown_block_is_reported_with_the_configured_ids() -> None:
    scene = replace(load_scene("ur5"), num_blocks=4)
    robot, away = load_robot("ur5"), block_pose(5.0, 5.0, 0.02, 0.0)
    detector = BlockDetector(BlockDetectorConfig(), scene.camera.intrinsics())
    with SceneRenderer(robot, scene) as camera:
        pose = block_pose(0.45, 0.0, 0.02, 0.3)
        image = camera.render(robot.home, 0.05, np.stack([away, away, away, pose]))
    detection = detector.detect_with_problems(image)
    assert set(detection.unknown_markers) <= set(BlockMarkers.numbered(3).ids)
    assert detection.describe_problem(detector.config) == (
        "no configured block in the image, only marker "
        f"{detection.unknown_markers[0]}; use a block with markers 0 to 5 of DICT_4X4_50, or "
        "blocks:="
    )


@pytest.fixture
def detector() -> BlockDetector:
    return BlockDetector(BlockDetectorConfig(), load_scene("ur5").camera.intrinsics())


def test_blank_image_has_no_blocks(detector: BlockDetector) -> None:
    assert detector.detect(np.full((480, 640, 3), 128, np.uint8)) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((480, 640, 3), np.float32),
        np.zeros((480, 640, 3), np.uint16),
        np.zeros((480, 640), np.uint8),
        np.zeros((480, 640, 4), np.uint8),
    ],
)
def test_image_of_another_encoding_is_refused(detector: BlockDetector, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
        detector.detect(image)


@pytest.mark.parametrize(
    "field",
    [
        {"block_size": 0.0},
        {"edge_noise_std": -1.0},
        {"max_reprojection_error": 0},
    ],
)
def test_config_error_names_the_invalid_field(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        BlockDetectorConfig(**field)


def test_camera_without_focal_length_is_refused() -> None:
    with pytest.raises(ValueError, match="camera_matrix"):
        BlockDetector(BlockDetectorConfig(), np.zeros((3, 3)))


def test_face_that_exactly_faces_the_camera_is_located() -> None:
    """OpenCV has no pose for its marker, whose image is an exact square."""
    lens = CameraIntrinsics(
        np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]]), width=640, height=480
    )
    T_true = rigid_transform(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.35]))
    (pose,) = BlockDetector(BlockDetectorConfig(), lens).detect(render_cube(T_true, lens))
    assert np.linalg.norm((pose.T_camera_block - T_true)[:3, 3]) < 4e-3


def test_camera_rotation_error_increases_covariance_with_distance() -> None:
    pose = BlockPose(0, np.eye(4), 1e-8 * np.eye(6), np.zeros(1), np.zeros((1, 4, 2)))
    pose.T_camera_block[:3, 3] = 0.0, 0.0, 0.5
    exact = block_pose_in_base(
        pose.T_camera_block, pose.covariance, load_scene("ur5").camera.T_base_camera
    ).covariance
    np.testing.assert_allclose(exact, 1e-8 * np.eye(6), atol=1e-15)
    rotation_covariance = np.diag([0, 0, 0, 0.01**2, 0.01**2, 0.01**2])
    uncertain = block_pose_in_base(
        pose.T_camera_block, pose.covariance, np.eye(4), rotation_covariance
    ).covariance
    np.testing.assert_allclose(np.sqrt(uncertain[[0, 1], [0, 1]]), 0.005, rtol=1e-3)
    assert uncertain[2, 2] == pytest.approx(
        1e-8
    )  # rotations do not move it along the optical axis


@pytest.mark.parametrize("top", [0, 5, 60, 200, 420])
def test_label_does_not_cover_its_block(top):
    canvas = np.full((480, 640, 3), 110, np.uint8)
    block_overlay._label(canvas, np.array([[300, top], [350, top + 50]]), ["block 0", "1 2 3 mm"])
    assert (canvas[top : top + 50, 300:350] == 110).all()
    assert (canvas != 110).any()
