"""Simulated scene: rendered images, and blocks in the PyBullet world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pybullet
import pytest
from pybullet_utils.bullet_client import BulletClient

from invdyn_ros.arms.pybullet_obstacles import add_table
from invdyn_ros.arms.pybullet_scene import add_block, block_texture, place_block
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.arms.rendering import SceneRenderer, render_table
from invdyn_ros.perception.aruco_cube import detect_markers, face_image, marker_corners
from invdyn_ros.robots.block_markers import BlockMarkers
from invdyn_ros.robots.obstacles import Box, Obstacles
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.registry import ROBOTS, grasping_arms, load_plant, load_scene
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene, block_pose


@pytest.fixture
def client() -> Iterator[BulletClient]:
    client = BulletClient(pybullet.DIRECT)
    client.setGravity(0, 0, -9.81)
    yield client
    client.disconnect()


def test_pose_of_a_camera_is_a_rotation_that_looks_at_its_target() -> None:
    camera = PinholeCamera.look_at((0.8, 0.1, 0.4), (0.4, 0.0, 0.0), focal=800.0)
    R = camera.T_base_camera[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    np.testing.assert_allclose(camera.project(np.array([0.4, 0.0, 0.0])), (319.5, 239.5))
    higher = camera.project(np.array([0.4, 0.0, 0.05]))
    assert higher[1] < 239.5  # v points down


@pytest.mark.parametrize("target", [(0.5, 0.0, 0.0), (0.5, 0.0, 1.0)])
def test_camera_without_an_upright_image_is_refused(target: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="upright"):
        PinholeCamera.look_at((0.5, 0.0, 0.5), target, focal=800.0)


def test_camera_pose_that_is_no_rotation_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a pose"):
        PinholeCamera(2 * np.eye(4), 800.0)


def test_rendered_pixels_agree_with_the_pinhole_model(client: BulletClient) -> None:
    """Centres of small spheres are projected with an error of a fraction of a pixel."""
    camera = PinholeCamera.look_at((0.7, -0.2, 0.5), (0.4, 0.0, 0.0), focal=850.0)
    ball = client.createVisualShape(client.GEOM_SPHERE, radius=0.012, rgbaColor=[1, 0, 0, 1])
    body = client.createMultiBody(0, -1, ball)
    deviations = []
    for point in np.random.default_rng(0).uniform((0.3, -0.1, 0), (0.5, 0.1, 0.1), (12, 3)):
        client.resetBasePositionAndOrientation(body, point, [0, 0, 0, 1])
        matrices = camera.view_matrix(), camera.projection_matrix()
        size = (camera.height, camera.width)
        depth = client.getCameraImage(*size[::-1], *matrices, shadow=0)[3]
        v, u = np.nonzero(np.reshape(depth, size) < 1.0)
        deviations.append((u.mean(), v.mean()) - camera.project(point))
    assert np.abs(np.mean(deviations, axis=0)).max() < 0.1
    assert np.abs(deviations).max() < 0.35  # the image of a sphere is an ellipse a little off


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_rendered_markers_agree_with_the_pinhole_model(arm: str) -> None:
    scene, robot = replace(load_scene(arm), pixel_noise=0.0), load_robot(arm)
    rng, deviations = np.random.default_rng(2), []
    with SceneRenderer(robot, scene) as camera:
        for pose in [scene.sample_block_pose(rng) for _ in range(15)]:
            image = camera.render(robot.home, 0.05, pose[None])
            ids, corners = detect_markers(image[..., 1].copy())
            points = marker_corners(scene.block_size)[ids] @ pose[:3, :3].T + pose[:3, 3]
            up = ids == 0  # this face is always visible
            deviations.append((corners - scene.camera.project(points))[up].reshape(-1, 2))
    deviation = np.concatenate(deviations)
    assert np.abs(deviation.mean(axis=0)).max() < 0.1
    assert np.percentile(np.abs(deviation), 95) < 0.5


@pytest.mark.parametrize("arm", grasping_arms())
def test_area_and_goal_are_in_the_image(arm: str) -> None:
    scene = load_scene(arm)
    centres = [(x, y, scene.block_size / 2) for x in scene.area_x for y in scene.area_y]
    corners = marker_corners(scene.block_size).reshape(-1, 3)
    for centre in [*centres, scene.goal]:
        for yaw in (0.0, np.pi / 4):
            T = block_pose(*centre, yaw)
            pixels = scene.camera.project(corners @ T[:3, :3].T + T[:3, 3])
            assert pixels.min() > 5
            assert np.all(pixels < (scene.camera.width - 5, scene.camera.height - 5))


@pytest.mark.slow
@pytest.mark.parametrize("arm", [arm for arm in ROBOTS if ROBOTS[arm].scene])
def test_blocks_are_visible_in_the_rendered_scene_of_every_arm(arm: str) -> None:
    scene, robot = load_scene(arm), load_robot(arm)
    poses = np.array([scene.sample_block_pose(np.random.default_rng(1))] * scene.num_blocks)
    with SceneRenderer(robot, scene) as camera:
        image = camera.render(robot.home, 0.0, poses)
    assert image.shape == (480, 640, 3)
    assert image.dtype == np.uint8
    assert len(detect_markers(image[..., 1].copy()).ids) >= 2 * scene.num_blocks
    empty = render_table(scene).astype(int)
    assert np.mean(np.abs(image - empty).max(axis=2) > 25) > 0.01


def test_boxes_are_drawn_where_the_arm_would_touch_them() -> None:
    """A ray through each box of the world hits it, and its pixel differs from the empty image."""
    scene, robot = replace(load_scene("kuka_iiwa"), pixel_noise=0.0, blur=0.0), load_robot("ur5")
    box = Box("crate", (0.1, 0.1, 0.1), (0.1, -0.4, 0.3), (0.0, 0.0, 0.5))
    obstacles, no_blocks = Obstacles(boxes=(box,)), np.empty((0, 4, 4))
    with (
        SceneRenderer(robot, scene) as empty,
        SceneRenderer(robot, scene, obstacles=obstacles) as camera,
        Simulation(robot, load_plant("ur5"), obstacles=obstacles) as simulation,
    ):
        images = [c.render(robot.home, 0.0, no_blocks).astype(int) for c in (camera, empty)]
        drawn = np.abs(images[0] - images[1]).max(axis=2) > 10  # (H, W)
        eye = scene.camera.T_base_camera[:3, 3]
        points = [box.position, (-0.3, -0.4, 0.3), (0.1, -0.4, 0.5)]
        for point, hit in zip(points, (True, False, False), strict=True):
            column, row = np.round(scene.camera.project(np.array([point]))[0]).astype(int)
            assert drawn[row, column] == hit
            ray = simulation.client.rayTest(eye.tolist(), list(point))[0]
            assert (ray[0] not in (-1, simulation.body)) == hit


def test_same_seed_gives_the_same_image() -> None:
    scene, robot = load_scene("ur5"), load_robot("ur5")
    pose = block_pose(0.45, 0.0, 0.02, 0.0)[None]
    with SceneRenderer(robot, scene, seed=5) as a, SceneRenderer(robot, scene, seed=5) as b:
        first, second = a.render(robot.home, 0.05, pose), a.render(robot.home, 0.05, pose)
        np.testing.assert_array_equal(first, b.render(robot.home, 0.05, pose))
        assert np.any(first != second)  # the sensor noise changes in each frame
        a.reset(5)
        np.testing.assert_array_equal(first, a.render(robot.home, 0.05, pose))


def test_arm_moves_in_the_image() -> None:
    scene, robot = replace(load_scene("kuka_iiwa"), pixel_noise=0.0), load_robot("kuka_iiwa")
    with SceneRenderer(robot, scene) as camera:
        home, moved, again = (
            camera.render(robot.home + shift, 0.0, np.empty((0, 4, 4))) for shift in (0, 0.5, 0)
        )
    assert np.mean(np.any(home != moved, axis=2)) > 0.01
    np.testing.assert_array_equal(home, again)


def test_number_of_poses_must_be_that_of_the_blocks() -> None:
    robot = load_robot("dofbot")
    with (
        SceneRenderer(robot, load_scene("dofbot")) as camera,
        pytest.raises(ValueError, match="1 blocks"),
    ):
        camera.render(robot.home, 0.0, np.empty((0, 4, 4)))


def texture(block: int) -> np.ndarray:
    return block_texture(BlockMarkers.numbered(block))


def test_texture_is_the_same_each_time_and_differs_between_blocks() -> None:
    np.testing.assert_array_equal(texture(1), texture(1))
    assert np.any(texture(0) != texture(1))
    np.testing.assert_array_equal(texture(1)[:, 480:720], face_image(8, 240))


def test_marker_outside_the_dictionary_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 49"):
        face_image(50, 240)
    with pytest.raises(ValueError, match="multiple of 30"):
        face_image(0, 100)


@pytest.mark.parametrize("field", [{"block_size": 0.0}, {"friction": -1.0}, {"blur": -0.1}])
def test_error_names_the_wrong_field_of_a_scene(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        Scene(load_scene("ur5").camera, **field)


def test_random_poses_lie_in_the_area_on_the_table() -> None:
    scene, rng = load_scene("dofbot"), np.random.default_rng(0)
    poses = np.array([scene.sample_block_pose(rng) for _ in range(200)])
    low, high = np.transpose([scene.area_x, scene.area_y])
    assert np.all((poses[:, :2, 3] >= low) & (poses[:, :2, 3] <= high))
    np.testing.assert_allclose(poses[:, 2, 3], scene.block_size / 2)


def test_dropped_block_comes_to_rest_on_the_table(client: BulletClient) -> None:
    scene = load_scene("ur5")
    add_table(client)
    block = add_block(client, scene, block_pose(0.45, 0.05, 0.03, 0.4))
    for _ in range(500):
        client.stepSimulation()
    position, _ = client.getBasePositionAndOrientation(block)
    speed, spin = client.getBaseVelocity(block)
    np.testing.assert_allclose(position, (0.45, 0.05, 0.02), atol=1e-3)
    assert max(np.abs(speed).max(), np.abs(spin).max()) < 1e-2


def test_placed_block_has_the_pose_it_was_given(client: BulletClient) -> None:
    body = add_block(client, load_scene("ur5"), np.eye(4))
    for yaw in (0.0, 1.0, np.pi, -2.5):
        pose = block_pose(0.1, 0.2, 0.3, yaw)
        place_block(client, body, pose)
        position, quaternion = client.getBasePositionAndOrientation(body)
        R = np.reshape(client.getMatrixFromQuaternion(quaternion), (3, 3))
        np.testing.assert_allclose(position, pose[:3, 3])
        np.testing.assert_allclose(R, pose[:3, :3], atol=1e-9)


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_closed_gripper_holds_the_block(client: BulletClient, arm: str) -> None:
    """A held block neither slips nor rotates within a second of gravity."""
    scene, robot = load_scene(arm), load_robot(arm)
    _, block = _hold_block(client, robot, scene)
    poses = []
    for gravity, steps in ((0.0, 500), (-9.81, 300), (-9.81, 1000)):  # close, load, carry
        client.setGravity(0, 0, gravity)
        for _ in range(steps):
            client.stepSimulation()
        poses.append(client.getBasePositionAndOrientation(block))
    (before, attitude), (after, end) = poses[1:]
    assert np.linalg.norm(np.subtract(after, before)) < 1e-3
    angle = client.getAxisAngleFromQuaternion(client.getDifferenceQuaternion(end, attitude))[1]
    assert np.degrees(abs((angle + np.pi) % (2 * np.pi) - np.pi)) < 2.0


def _hold_block(client: BulletClient, robot: Robot, scene: Scene) -> tuple[int, int]:
    """Load the arm at home and a block between its closing fingers; return both body ids."""
    client.setTimeStep(1e-3)
    flag = client.URDF_USE_INERTIA_FROM_FILE
    body = client.loadURDF(str(robot.urdf), useFixedBase=True, flags=flag)
    names = [client.getJointInfo(body, i)[1].decode() for i in range(client.getNumJoints(body))]
    for name, q in zip(robot.joint_names, robot.home, strict=True):
        client.resetJointState(body, names.index(name), q)
        motor = client.POSITION_CONTROL
        client.setJointMotorControl2(body, names.index(name), motor, q, force=300)
    fingers = [names.index(name) for name in robot.gripper.joint_names] if robot.gripper else []
    for finger in fingers:
        client.changeDynamics(body, finger, lateralFriction=1.0)
        client.resetJointState(body, finger, 1.05 * scene.block_size / 2)
        client.setJointMotorControl2(body, finger, client.POSITION_CONTROL, 0.0, force=15)
    axes = [0, 1, 0], [0, 0, 0], [0, 0, 0]
    gear = client.createConstraint(body, fingers[0], body, fingers[1], client.JOINT_GEAR, *axes)
    client.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=100)  # both move together
    return body, add_block(client, scene, robot.forward_kinematics(robot.home))
