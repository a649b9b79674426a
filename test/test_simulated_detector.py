"""The model of the detector against the real one, and the noise of episodes."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.domain_randomization import (
    RANDOMIZATION_LEVELS,
    DomainRandomization,
    load_randomization,
    randomize_camera,
    randomize_plant,
    sample_latency,
    with_sensor_noise,
)
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.grasp.envs.episode import GraspSimulation
from invdyn_ros.grasp.envs.simulated_detector import ERROR_SCALE, SimulatedDetector
from invdyn_ros.perception.aruco_cube import detect_markers
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.robots.registry import load_plant, load_scene
from invdyn_ros.robots.robot import load_robot

AGREE = 1.5  # factor between the spread of the model and that of the real detector


def error(T: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Position [m] and rotation [rad] (6,) between poses."""
    turn = Rotation.from_matrix(T[:3, :3] @ truth[:3, :3].T).as_rotvec()
    return np.concatenate([T[:3, 3] - truth[:3, 3], turn])


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_the_model_of_the_detector_errs_as_the_real_one(arm: str) -> None:
    """On pictures of blocks anywhere: the spread over places, and from frame to frame."""
    robot, scene, random = load_robot(arm), load_scene(arm), np.random.default_rng(1)
    real = BlockDetector(
        BlockDetectorConfig(block_size=scene.block_size), scene.camera.intrinsics()
    )
    T_camera_base = np.linalg.inv(scene.camera.T_base_camera)
    errors, again = {"real": [], "model": []}, {"real": [], "model": []}
    with SceneRenderer(robot, scene) as camera:
        for _ in range(30):
            pose = scene.sample_block_pose(random)
            truth, model = T_camera_base @ pose, SimulatedDetector(scene.camera, scene.block_size)
            for k in range(2):
                picture = camera.render(robot.home, robot.gripper.max_opening, pose[None])
                seen = {"real": real.detect(picture)[0], "model": model.detect(pose, random)}
                for who, found in seen.items():
                    row = error(found.T_camera_block, truth)
                    (errors if k == 0 else again)[who].append(row)
    spread = {who: np.sqrt(np.mean(np.square(rows), axis=0)) for who, rows in errors.items()}
    ratio = spread["model"] / spread["real"]
    for part in (slice(0, 2), slice(2, 3), slice(3, 6)):  # across, along the view, rotation
        assert 1 / AGREE < np.sqrt(np.mean(ratio[part] ** 2)) < AGREE, ratio
    flicker = {who: np.std(np.subtract(again[who], errors[who])) for who in errors}
    assert 1 / (2 * AGREE) < flicker["model"] / flicker["real"] < 2 * AGREE


def test_covariance_of_the_model_is_that_of_its_errors() -> None:
    scene, random = load_scene("ur5"), np.random.default_rng(0)
    pose = scene.sample_block_pose(random)
    T_camera_base = np.linalg.inv(scene.camera.T_base_camera)
    found = [
        SimulatedDetector(scene.camera, scene.block_size).detect(pose, random) for _ in range(400)
    ]
    rows = np.array([error(f.T_camera_block, T_camera_base @ pose) for f in found])
    white = np.linalg.solve(np.linalg.cholesky(found[0].covariance), (rows / ERROR_SCALE).T)
    np.testing.assert_allclose(np.cov(white), np.eye(6), atol=0.25)
    exact = SimulatedDetector(scene.camera, scene.block_size, 0.0).detect(pose, random)
    np.testing.assert_allclose(exact.T_camera_block, T_camera_base @ pose, atol=1e-12)


def test_the_model_misses_what_the_real_detector_misses() -> None:
    """With the gripper over the block, at heights from far above to around it."""
    arm, scene = load_robot("ur5"), load_scene("ur5")
    real = BlockDetector(
        BlockDetectorConfig(block_size=scene.block_size), scene.camera.intrinsics()
    )
    random, agreed = np.random.default_rng(0), []
    with (
        Simulation(arm, load_plant("ur5"), scene=scene) as simulation,
        SceneRenderer(arm, scene) as camera,
    ):
        model = SimulatedDetector(scene.camera, scene.block_size)
        for _ in range(40):
            q = arm.home + random.uniform(-0.25, 0.25, 6)
            tool = arm.forward_kinematics(q)[:3, 3]
            pose = scene.sample_block_pose(random)
            pose[:2, 3] = tool[:2] + random.uniform(-0.05, 0.05, 2)
            simulation.reset(0, q)
            found = model.detect(pose, random, simulation.occluded)
            picture = camera.render(q, arm.gripper.max_opening, pose[None])
            agreed.append((found is None) == (not real.detect(picture)))
    assert np.mean(agreed) >= 0.8


def test_a_block_out_of_the_picture_is_not_seen() -> None:
    scene, random = load_scene("ur5"), np.random.default_rng(0)
    pose = scene.sample_block_pose(random)
    pose[1, 3] = 2.0
    assert SimulatedDetector(scene.camera, scene.block_size).detect(pose, random) is None


@pytest.mark.parametrize("level", list(RANDOMIZATION_LEVELS))
def test_each_episode_has_its_own_arm_and_latency(level: str) -> None:
    noise, plant = RANDOMIZATION_LEVELS[level], load_plant("ur5")
    worn = [randomize_plant(plant, noise, 3, e, block_mass=0.05) for e in range(200)]
    friction = np.array([p.coulomb for p in worn]) / plant.coulomb
    assert friction.std() == pytest.approx(noise.joint_friction, rel=0.2)
    payload = np.array([p.payload for p in worn]) - plant.payload
    assert (payload >= 0).all() and payload.max() <= 2.5 * 0.05 * noise.payload
    assert {p.backlash for p in worn} == {noise.backlash * plant.encoder_step}
    waits = np.array([sample_latency(noise, 3, e) for e in range(200)])
    assert waits.max() <= noise.latency and waits.mean() == pytest.approx(
        noise.latency / 2, rel=0.1
    )
    assert worn[7] == randomize_plant(plant, noise, 3, 7, block_mass=0.05)


def test_no_noise_is_the_arm_itself_with_perfect_sensors() -> None:
    plant = load_plant("ur5")
    assert randomize_plant(
        plant, DomainRandomization(), 0, 0, block_mass=0.05
    ) == with_sensor_noise(plant, DomainRandomization())
    assert with_sensor_noise(plant, DomainRandomization(sensor=1.0)) == plant
    assert (
        with_sensor_noise(load_plant("dofbot"), DomainRandomization()).velocity_noise < 0
    )  # measures none, still


def test_the_noise_of_sensors_is_scaled_once_however_many_episodes_pass() -> None:
    noise, plant = RANDOMIZATION_LEVELS["hard"], load_plant("ur5")
    with GraspSimulation(load_robot("ur5"), noise, load_scene("ur5")) as world:
        for _ in range(3):
            world.next_episode()
            assert world.physics.plant.velocity_noise == noise.sensor * plant.velocity_noise


@pytest.mark.parametrize("term", [field.name for field in fields(DomainRandomization)])
def test_a_term_that_is_negative_is_refused(term: str) -> None:
    with pytest.raises(ValueError, match=term):
        replace(load_randomization("default"), **{term: -1e-3})


def test_pictures_for_a_policy_show_no_markers_and_vary() -> None:
    robot, scene = load_robot("ur5"), load_scene("ur5")
    pose = scene.sample_block_pose(np.random.default_rng(0))
    pictures = []
    for episode in (0, 1):
        shown = randomize_camera(scene, load_randomization("default"), 0, episode, 240)
        with SceneRenderer(robot, shown) as camera:
            pictures.append(camera.render(robot.home, 0.08, pose[None]))
    assert pictures[0].shape == (240, 240, 3)
    assert all(detect_markers(p[..., 0]).ids.size == 0 for p in pictures)
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 3
    still = randomize_camera(scene, load_randomization("none"), 0, 1, 64)
    np.testing.assert_allclose(still.camera.T_base_camera, scene.camera.T_base_camera, atol=1e-12)
    assert still.table_color == scene.table_color and not still.marked


def test_backlash_is_felt_when_the_joint_turns_round() -> None:
    arm = load_robot("ur5")
    plant = replace(load_plant("ur5"), backlash=0.02, position_noise=0.0, encoder_step=0.0)
    with Simulation(arm, plant) as simulation:
        hold = arm.inverse_dynamics(arm.home, np.zeros(6), np.zeros(6))
        lags = []
        for k in range(200):
            push = hold + 20 * np.sin(0.05 * k) * np.eye(6)[0]
            q = simulation.step(push).q
            lags.append(q[0] - simulation.true_state()[0][0])
    assert np.abs(lags).max() == pytest.approx(0.01, abs=1e-9)
    assert min(lags) < 0 < max(lags)
