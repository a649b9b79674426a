"""Blocks in pictures of the real scene: poses, covariances, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.rendering import SceneCamera
from invdyn_ros.arms.scene import SCENES, block_pose
from invdyn_ros.benchmarks.block_pictures import block_scene
from invdyn_ros.perception.block_fit import BlockFit, fit_block, project, skew, transform, turn
from invdyn_ros.perception.block_modes import TRACK_LIMIT, Mode, rank, track_costs
from invdyn_ros.perception.blocks import BlockDetector, BlockPose, BlocksConfig, block_in_base
from invdyn_ros.perception.markers import face_image, find_markers, marker_corners
from invdyn_ros.robot import load_robot

PICTURES = 60  # of each arm
ARMS = ("ur5", "dofbot")


class Sample:
    """Blocks at random places of one arm's scene, as they were and as they were found."""

    def __init__(self, arm: str, seed: int = 3) -> None:
        scene, robot = SCENES[arm], load_robot(arm)
        rng = np.random.default_rng(seed)
        self.detector = BlockDetector(BlocksConfig(scene.block_size), scene.camera.intrinsics())
        self.T_base_camera = scene.camera.T_base_camera
        self.truth = [scene.random_pose(rng) for _ in range(PICTURES)]
        with SceneCamera(robot, scene) as camera:
            self.images = [camera.render(robot.home, 0.05, T[None]) for T in self.truth]
        self.found = [self.detector.detect(image) for image in self.images]

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Errors (PICTURES, 6) in the base [m, rad], and over their covariance (PICTURES,)."""
        errors, normalised = [], []
        for truth, (pose,) in zip(self.truth, self.found, strict=True):
            T, covariance = block_in_base(pose.T_camera_block, pose.covariance, self.T_base_camera)
            turn = Rotation.from_matrix(T[:3, :3] @ truth[:3, :3].T).as_rotvec()
            error = np.concatenate([T[:3, 3] - truth[:3, 3], turn])
            errors.append(error)
            normalised.append(error @ np.linalg.solve(covariance, error) / 6)
        return np.array(errors), np.array(normalised)


@pytest.fixture(scope="module", params=ARMS)
def sample(request: pytest.FixtureRequest) -> Iterator[Sample]:
    yield Sample(request.param)


def test_every_block_in_the_area_is_found(sample: Sample) -> None:
    assert [len(found) for found in sample.found] == [1] * PICTURES


def test_block_is_found_within_two_millimetres_and_three_degrees(sample: Sample) -> None:
    errors, _ = sample.errors()
    distance = np.linalg.norm(errors[:, :3], axis=1)
    angle = np.degrees(np.linalg.norm(errors[:, 3:], axis=1))
    assert np.percentile(distance, 95) < 2e-3
    assert np.percentile(angle, 95) < 3.0


def test_two_visible_faces_never_flip(sample: Sample) -> None:
    errors, _ = sample.errors()
    faces = np.array([len(pose.markers) for (pose,) in sample.found])
    assert np.mean(faces >= 2) > 0.9
    assert np.degrees(np.linalg.norm(errors[faces >= 2, 3:], axis=1)).max() < 10.0


def test_markers_are_large_enough_to_refine(sample: Sample) -> None:
    sides = [
        np.linalg.norm(pose.corners - np.roll(pose.corners, 1, axis=1), axis=2).max()
        for (pose,) in sample.found
    ]
    assert np.median(sides) > 50.0


def test_covariance_is_symmetric_and_positive(sample: Sample) -> None:
    for (pose,) in sample.found:
        np.testing.assert_array_equal(pose.covariance, pose.covariance.T)
        assert np.linalg.eigvalsh(pose.covariance).min() > 0.0


def test_covariance_is_of_the_size_of_the_errors(sample: Sample) -> None:
    _, normalised = sample.errors()
    assert 1 / 3 < normalised.mean() < 3.0


def test_hidden_face_leaves_a_pose(sample: Sample) -> None:
    (pose,), truth = sample.found[0], sample.truth[0]
    image = sample.images[0].copy()
    hidden = np.round(pose.corners[0]).astype(np.int32)
    cv2.fillConvexPoly(image, hidden, (60, 60, 60))
    (less,) = sample.detector.detect(image)
    assert set(less.markers) == set(pose.markers) - {pose.markers[0]}
    T, _ = block_in_base(less.T_camera_block, less.covariance, sample.T_base_camera)
    assert np.linalg.norm(T[:3, 3] - truth[:3, 3]) < 5e-3
    assert np.trace(less.covariance) > np.trace(pose.covariance)


def test_overlay_draws_on_a_copy(sample: Sample) -> None:
    image = sample.images[0].copy()
    overlay = sample.detector.draw(image, sample.found[0])
    np.testing.assert_array_equal(image, sample.images[0])
    changed = np.argwhere(np.any(overlay != image, axis=2))[:, ::-1]
    assert len(changed) > 500
    centre = sample.found[0][0].corners.reshape(-1, 2).mean(axis=0)
    assert np.linalg.norm(changed - centre, axis=1).max() < 260.0


def test_unknown_ids_are_ignored() -> None:
    scene = replace(SCENES["ur5"], blocks=2, pixel_noise=0.0)
    poses = np.array([block_pose(0.45, -0.06, 0.02, 0.3), block_pose(0.47, 0.05, 0.02, 1.0)])
    robot = load_robot("ur5")
    with SceneCamera(robot, scene) as camera:
        image = camera.render(robot.home, 0.05, poses)
    intrinsics = scene.camera.intrinsics()
    one, two = (BlockDetector(BlocksConfig(blocks=n), intrinsics) for n in (1, 2))
    assert [pose.block for pose in one.detect(image)] == [0]
    found = two.detect(image)
    assert [pose.block for pose in found] == [0, 1]
    for pose, truth in zip(found, poses, strict=True):
        T, _ = block_in_base(pose.T_camera_block, pose.covariance, scene.camera.T_base_camera)
        assert np.linalg.norm(T[:3, 3] - truth[:3, 3]) < 3e-3


@pytest.fixture
def detector() -> BlockDetector:
    return BlockDetector(BlocksConfig(), SCENES["ur5"].camera.intrinsics())


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
    "field", [{"block_size": 0.0}, {"blocks": 9}, {"side_noise": -1.0}, {"max_reprojection": 0}]
)
def test_config_names_the_field_that_is_wrong(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        BlocksConfig(**field)


def test_camera_without_focal_length_is_refused() -> None:
    with pytest.raises(ValueError, match="intrinsics"):
        BlockDetector(BlocksConfig(), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="distortion"):
        BlockDetector(BlocksConfig(), np.eye(3), np.zeros(3))


def test_derivative_of_projection_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=1).as_matrix()
    T[:3, 3] = 0.03, -0.05, 0.5
    k, points = SCENES["ur5"].camera.intrinsics(), rng.normal(0, 0.02, (5, 3))
    pixels, J = project(T, points, k)
    for axis, step in enumerate(1e-7 * np.eye(6)):
        moved = T.copy()
        moved[:3, 3] += step[:3]
        moved[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix() @ T[:3, :3]
        slope = (project(moved, points, k)[0] - pixels).ravel() / 1e-7
        np.testing.assert_allclose(J[:, axis], slope, rtol=1e-4, atol=1e-2)


def test_exact_corners_give_the_exact_pose_at_any_orientation() -> None:
    rng, k = np.random.default_rng(4), SCENES["ur5"].camera.intrinsics()
    corners = marker_corners(0.04)  # (6, 4, 3)
    for R in Rotation.random(50, random_state=4).as_matrix():
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, (*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.35, 0.7))
        centres = corners.mean(axis=1) @ R.T  # along the outward normals
        normals = centres / 0.02
        seen = np.flatnonzero(np.sum(normals * (centres + T[:3, 3]), axis=1) < -0.05)
        quads = project(T, corners[seen].reshape(-1, 3), k)[0].reshape(-1, 4, 2)
        fit = fit_block(seen, quads, 0.04, k, side_noise=0.06, max_error=2.0)[0]
        np.testing.assert_allclose(fit.T_camera_block, T, atol=1e-5)


def test_marker_that_contradicts_the_others_is_left_out() -> None:
    camera = SCENES["ur5"].camera
    k, T = (
        camera.intrinsics(),
        np.linalg.inv(camera.T_base_camera) @ block_pose(0.47, 0, 0.02, 0.7),
    )
    seen, corners = np.array([0, 1, 4]), marker_corners(0.04)
    quads = project(T, corners[seen].reshape(-1, 3), k)[0].reshape(-1, 4, 2)
    quads[1] += [[8.0, 0.0], [0.0, 5.0], [-7.0, 0.0], [0.0, 6.0]]
    fit = fit_block(seen, quads, 0.04, k, side_noise=0.06, max_error=2.0)[0]
    assert fit.used.tolist() == [0, 2]
    np.testing.assert_allclose(fit.T_camera_block, T, atol=1e-5)


def test_lens_distortion_is_taken_out() -> None:
    camera, side = SCENES["ur5"].camera, 0.04
    k, lens = camera.intrinsics(), np.array([-0.3, 0.1, 0.001, -0.002, 0.0])
    T_base_block = block_pose(0.40, 0.08, 0.02, 0.5)
    robot = load_robot("ur5")
    with SceneCamera(robot, SCENES["ur5"]) as scene_camera:
        ideal = scene_camera.render(robot.home, 0.05, T_base_block[None])
    v, u = np.mgrid[:480, :640].astype(np.float32)
    points = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    source = cv2.undistortPoints(points, k, lens, P=k).reshape(480, 640, 2)
    bent = cv2.remap(ideal, source[..., 0], source[..., 1], cv2.INTER_LINEAR)
    errors = []
    for distortion in (lens, None):
        (pose,) = BlockDetector(BlocksConfig(side), k, distortion).detect(bent)
        T, _ = block_in_base(pose.T_camera_block, pose.covariance, camera.T_base_camera)
        errors.append(np.linalg.norm(T[:3, 3] - T_base_block[:3, 3]))
    assert errors[0] < 2e-3 < errors[1]


def test_camera_error_moves_a_far_block_with_its_lever() -> None:
    pose = BlockPose(0, np.eye(4), 1e-8 * np.eye(6), np.zeros(1), np.zeros((1, 4, 2)), 0.1)
    pose.T_camera_block[:3, 3] = 0.0, 0.0, 0.5
    exact = block_in_base(
        pose.T_camera_block, pose.covariance, SCENES["ur5"].camera.T_base_camera
    ).covariance
    np.testing.assert_allclose(exact, 1e-8 * np.eye(6), atol=1e-15)
    turned = np.diag([0, 0, 0, 0.01**2, 0.01**2, 0.01**2])
    loose = block_in_base(pose.T_camera_block, pose.covariance, np.eye(4), turned).covariance
    np.testing.assert_allclose(np.sqrt(loose[[0, 1], [0, 1]]), 0.005, rtol=1e-3)
    assert loose[2, 2] == pytest.approx(1e-8)  # turning does not move it along the axis of sight


def test_skew_is_the_cross_product() -> None:
    v, w = np.random.default_rng(0).normal(size=(2, 7, 3))
    np.testing.assert_allclose((skew(v) @ w[:, :, None])[..., 0], np.cross(v, w))


def test_corners_of_a_drawn_marker_are_found_to_a_tenth_of_a_pixel() -> None:
    canvas = np.full((400, 400), 255, np.uint8)
    canvas[100:220, 150:270] = face_image(7, 120)
    ids, corners = find_markers(cv2.GaussianBlur(canvas, (0, 0), 0.8))
    low = np.array([150, 100]) + 0.1 * 120 - 0.5  # edges lie between pixel centres
    square = low + 96 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    assert ids.tolist() == [7]
    np.testing.assert_allclose(corners[0], square, atol=0.1)


@pytest.mark.parametrize("side", [60, 120, 240])
def test_shaded_margin_before_a_bright_wall_is_no_part_of_the_marker(side: int) -> None:
    canvas = np.full((400, 400), 230, np.uint8)
    canvas[80 : 80 + side, 90 : 90 + side] = (0.65 * face_image(7, side)).astype(np.uint8)
    ids, corners = find_markers(cv2.GaussianBlur(canvas, (0, 0), 0.8))
    low = np.array([90, 80]) + 0.1 * side - 0.5
    square = low + 0.8 * side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    assert ids.tolist() == [7]
    np.testing.assert_allclose(corners[0], square, atol=0.15)


def small_tilted_blocks(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures of blocks whose front marker has a side of 24 px and is tilted by 10 to 16 deg."""
    scene, rng, robot = block_scene(), np.random.default_rng(8), load_robot("ur5")
    images, truth = [], []
    with SceneCamera(robot, scene) as camera:
        for _ in range(count):
            tilt, about = np.radians(rng.uniform(10, 16)), rng.uniform(-np.pi, np.pi)
            facing = Rotation.from_euler("xz", [np.pi, rng.uniform(-np.pi, np.pi)])
            axis = tilt * np.array([np.cos(about), np.sin(about), 0])
            R = (Rotation.from_rotvec(axis) * facing).as_matrix()
            truth.append(transform(R, np.array([0.0, 0.0, 850 * 0.032 / 24])))
            base = scene.camera.T_base_camera @ truth[-1]
            images.append(camera.render(robot.home, 0.0, base[None]))
    return images, truth


def test_picture_tells_the_side_to_which_a_lone_small_marker_is_tilted() -> None:
    k = block_scene().camera.intrinsics()
    detector = BlockDetector(BlocksConfig(), k)
    seen, wrong, misled = 0, 0, 0
    for image, T in zip(*small_tilted_blocks(40), strict=True):
        found = detector.detect(image)
        if not found:
            continue
        (pose,), seen = found, seen + 1
        wrong += turn(pose.T_camera_block, T) > np.radians(10)
        likeliest = fit_block(pose.markers, pose.corners, 0.04, k, 0.06, 2.0)[0]
        misled += turn(likeliest.T_camera_block, T) > np.radians(10)
    assert seen >= 35
    assert wrong == 0 < misled


def tilted(angle: float) -> np.ndarray:
    R = Rotation.from_euler("xyz", [np.pi, angle, 0]).as_matrix()
    return transform(R, np.array([0.0, 0.0, 1.0]))


def mode(angle: float, cost: float) -> BlockFit:
    return BlockFit(tilted(angle), 1e-6 * np.eye(6), np.zeros(1, int), np.zeros(1), cost)


def test_past_image_decides_between_poses_that_look_the_same() -> None:
    fits = [mode(0.2, 0.0), mode(-0.2, 0.0)]
    assert track_costs(fits, ()).tolist() == [0.0, 0.0]
    one, other = track_costs(fits, (Mode(tilted(-0.21), 0.0), Mode(tilted(0.19), 6.0)))
    assert one > other + 3.0
    far = track_costs(fits, (Mode(tilted(1.5), 0.0),))
    assert far.tolist() == [TRACK_LIMIT, TRACK_LIMIT]  # a block put elsewhere has no past


def test_covariance_holds_the_chance_of_the_other_pose() -> None:
    fits = [mode(0.2, 0.0), mode(-0.2, 0.0)]
    best, modes = rank(fits, np.array([4.0, 1.0]))
    np.testing.assert_array_equal(best.T_camera_block, tilted(-0.2))
    assert [m.cost for m in modes] == [0.0, 3.0]
    chance = np.exp(-1.5) / (1 + np.exp(-1.5))
    assert best.covariance[4, 4] == pytest.approx(1e-6 + chance * 0.4**2)
    alone, _ = rank(fits[:1], np.zeros(1))
    np.testing.assert_allclose(alone.covariance, 1e-6 * np.eye(6))
