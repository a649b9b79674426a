"""Noise model of the block detector against the real one, and domain randomization."""

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
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.envs.simulated_detector import ERROR_SCALE, SimulatedDetector
from invdyn_ros.perception.aruco_cube import detect_markers
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.robots.registry import load_plant, load_scene
from invdyn_ros.robots.robot import load_robot

STD_RATIO = 1.5  # maximum ratio of the standard deviations of model and real detector


def error(T: np.ndarray, true_pose: np.ndarray) -> np.ndarray:
    """Return the position [m] and rotation [rad] error (6,) of a pose."""
    turn = Rotation.from_matrix(T[:3, :3] @ true_pose[:3, :3].T).as_rotvec()
    return np.concatenate([T[:3, 3] - true_pose[:3, 3], turn])


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_errors_of_the_model_match_the_real_detector(arm: str) -> None:
    """On images of random blocks: the errors over positions, and from frame to frame."""
    robot, scene, random = load_robot(arm), load_scene(arm), np.random.default_rng(1)
    real = BlockDetector(
        BlockDetectorConfig(block_size=scene.block_size), scene.camera.intrinsics()
    )
    T_camera_base = np.linalg.inv(scene.camera.T_base_camera)
    errors, repeated = {"real": [], "model": []}, {"real": [], "model": []}
    with SceneRenderer(robot, scene) as camera:
        for _ in range(30):
            pose = scene.sample_block_pose(random)
            true_pose, model = (
                T_camera_base @ pose,
                SimulatedDetector(scene.camera, scene.block_size),
            )
            for k in range(2):
                image = camera.render(robot.home, robot.gripper.max_opening, pose[None])
                detections = {"real": real.detect(image)[0], "model": model.detect(pose, random)}
                for name, detection in detections.items():
                    row = error(detection.T_camera_block, true_pose)
                    (errors if k == 0 else repeated)[name].append(row)
    std = {name: np.sqrt(np.mean(np.square(rows), axis=0)) for name, rows in errors.items()}
    ratio = std["model"] / std["real"]
    for part in (slice(0, 2), slice(2, 3), slice(3, 6)):  # across, along the view, rotation
        assert 1 / STD_RATIO < np.sqrt(np.mean(ratio[part] ** 2)) < STD_RATIO, ratio
    flicker = {name: np.std(np.subtract(repeated[name], errors[name])) for name in errors}
    assert 1 / (2 * STD_RATIO) < flicker["model"] / flicker["real"] < 2 * STD_RATIO


def test_model_reports_the_covariance_of_its_errors() -> None:
    scene, random = load_scene("ur5"), np.random.default_rng(0)
    pose = scene.sample_block_pose(random)
    T_camera_base = np.linalg.inv(scene.camera.T_base_camera)
    detections = [
        SimulatedDetector(scene.camera, scene.block_size).detect(pose, random) for _ in range(400)
    ]
    rows = np.array([error(f.T_camera_block, T_camera_base @ pose) for f in detections])
    white = np.linalg.solve(np.linalg.cholesky(detections[0].covariance), (rows / ERROR_SCALE).T)
    np.testing.assert_allclose(np.cov(white), np.eye(6), atol=0.25)
    exact = SimulatedDetector(scene.camera, scene.block_size, 0.0).detect(pose, random)
    np.testing.assert_allclose(exact.T_camera_block, T_camera_base @ pose, atol=1e-12)


def test_model_and_real_detector_agree_on_occlusion() -> None:
    """With the gripper over and around the block."""
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
            detection = model.detect(pose, random, simulation.occluded)
            image = camera.render(q, arm.gripper.max_opening, pose[None])
            agreed.append((detection is None) == (not real.detect(image)))
    assert np.mean(agreed) >= 0.8


def test_block_outside_of_the_image_is_not_detected() -> None:
    scene, random = load_scene("ur5"), np.random.default_rng(0)
    pose = scene.sample_block_pose(random)
    pose[1, 3] = 2.0
    assert SimulatedDetector(scene.camera, scene.block_size).detect(pose, random) is None


@pytest.mark.parametrize("level", list(RANDOMIZATION_LEVELS))
def test_each_episode_has_random_plant_and_latency(level: str) -> None:
    noise, plant = RANDOMIZATION_LEVELS[level], load_plant("ur5")
    plants = [randomize_plant(plant, noise, 3, e, block_mass=0.05) for e in range(200)]
    friction = np.array([p.coulomb for p in plants]) / plant.coulomb
    assert friction.std() == pytest.approx(noise.joint_friction, rel=0.2)
    payload = np.array([p.payload for p in plants]) - plant.payload
    assert (payload >= 0).all() and payload.max() <= 2.5 * 0.05 * noise.payload
    assert {p.backlash for p in plants} == {noise.backlash * plant.encoder_step}
    latencies = np.array([sample_latency(noise, 3, e) for e in range(200)])
    assert latencies.max() <= noise.latency and latencies.mean() == pytest.approx(
        noise.latency / 2, rel=0.1
    )
    assert plants[7] == randomize_plant(plant, noise, 3, 7, block_mass=0.05)


def test_without_noise_the_plant_is_nominal_with_perfect_sensors() -> None:
    plant = load_plant("ur5")
    assert randomize_plant(
        plant, DomainRandomization(), 0, 0, block_mass=0.05
    ) == with_sensor_noise(plant, DomainRandomization())
    assert with_sensor_noise(plant, DomainRandomization(sensor=1.0)) == plant
    assert (
        with_sensor_noise(load_plant("dofbot"), DomainRandomization()).velocity_noise < 0
    )  # measures none, still


def test_sensor_noise_is_scaled_once_for_all_episodes() -> None:
    noise, plant = RANDOMIZATION_LEVELS["hard"], load_plant("ur5")
    with GraspSimulation(load_robot("ur5"), noise, load_scene("ur5")) as simulation:
        for _ in range(3):
            simulation.next_episode()
            assert simulation.physics.plant.velocity_noise == noise.sensor * plant.velocity_noise


@pytest.mark.parametrize("term", [field.name for field in fields(DomainRandomization)])
def test_negative_term_is_rejected(term: str) -> None:
    with pytest.raises(ValueError, match=term):
        replace(load_randomization("default"), **{term: -1e-3})


def test_images_of_a_pixel_policy_have_no_markers_and_vary() -> None:
    robot, scene = load_robot("ur5"), load_scene("ur5")
    pose = scene.sample_block_pose(np.random.default_rng(0))
    images = []
    for episode in (0, 1):
        randomized = randomize_camera(scene, load_randomization("default"), 0, episode, 240)
        with SceneRenderer(robot, randomized) as camera:
            images.append(camera.render(robot.home, 0.08, pose[None]))
    assert images[0].shape == (240, 240, 3)
    assert all(detect_markers(p[..., 0]).ids.size == 0 for p in images)
    assert np.abs(images[0].astype(int) - images[1]).mean() > 3
    still = randomize_camera(scene, load_randomization("none"), 0, 1, 64)
    np.testing.assert_allclose(still.camera.T_base_camera, scene.camera.T_base_camera, atol=1e-12)
    assert still.table_color == scene.table_color and not still.marked


def test_backlash_appears_when_a_joint_reverses() -> None:
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
