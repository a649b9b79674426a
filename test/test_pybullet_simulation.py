"""Simulation of an arm: physics, plant parameters and domain randomization."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from invdyn_ros.arms.domain_randomization import (
    RANDOMIZATION_LEVELS,
    load_randomization,
    randomize_scene,
)
from invdyn_ros.arms.joint_drive import BRAKES, GRAVITY_COMPENSATION
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.robots.obstacles import FREE_SPACE, Box, Obstacles
from invdyn_ros.robots.plant import IDEAL_PLANT, PlantConfig
from invdyn_ros.robots.registry import load_plant, load_scene
from invdyn_ros.robots.robot import load_robot

robot = cache(load_robot)
RIGID = ["ur5", "ur5e", "kuka_iiwa"]


def swing(simulation: Simulation, seed: int, ticks: int = 60) -> np.ndarray:
    """Return all measurements during a sine of torques."""
    simulation.reset(seed)
    arm, rows = simulation.robot, []
    hold = arm.inverse_dynamics(arm.home, np.zeros(arm.n), np.zeros(arm.n))
    for k in range(ticks):
        push = hold + 0.1 * arm.effort * np.sin(0.1 * k)
        sample = simulation.step(push if arm.action_unit == "N m" else arm.home + 0.1, 0.03)
        rows.append(np.concatenate([sample.q, sample.qd, sample.effort, [sample.opening]]))
    return np.stack(rows)


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_same_seed_is_the_same_run_bit_for_bit(arm: str) -> None:
    """A new simulation equals one after a reset, and two simulations do not affect each other."""
    with (
        Simulation(robot(arm), load_plant(arm), scene=load_scene(arm)) as first,
        Simulation(robot(arm), load_plant(arm), scene=load_scene(arm)) as second,
    ):
        a, other = swing(first, 3), swing(second, 4)
        b, c = swing(second, 3), swing(first, 3)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert arm == "dofbot" or not np.array_equal(a, other)
        first.reset(3)
        second.reset(4)
        assert not np.array_equal(first.block_pose()[0], second.block_pose()[0])


@pytest.mark.parametrize("arm", RIGID)
def test_gravity_torque_of_the_model_holds_the_arm_still(arm: str) -> None:
    body = robot(arm)
    hold = body.inverse_dynamics(body.home, np.zeros(body.n), np.zeros(body.n))
    with Simulation(body, IDEAL_PLANT) as simulation:
        for _ in range(round(0.2 * body.rate)):
            simulation.step(hold)
        q, qd = simulation.true_state()
    np.testing.assert_allclose(q, body.home, atol=2e-4)
    assert np.abs(qd).max() < 5e-3


@pytest.mark.parametrize("arm", RIGID)
def test_payload_adds_its_gravity_torque(arm: str) -> None:
    """A payload at the tool adds the torque tau = J^T m g."""
    body, mass, h = robot(arm), 1.0, 1e-6
    lift = np.array(
        [
            (
                body.forward_kinematics(body.home + e)[2, 3]
                - body.forward_kinematics(body.home)[2, 3]
            )
            / h
            for e in h * np.eye(body.n)
        ]
    )  # (n,) [m/rad]
    zero = np.zeros(body.n)
    hold = body.inverse_dynamics(body.home, zero, zero) + mass * 9.81 * lift
    with Simulation(body, replace(IDEAL_PLANT, payload=mass)) as simulation:
        for _ in range(round(0.2 * body.rate)):
            simulation.step(hold)
        with_weight = np.abs(simulation.true_state()[0] - body.home).max()
        simulation.reset()
        for _ in range(round(0.2 * body.rate)):
            simulation.step(hold - mass * 9.81 * lift)
        without = np.abs(simulation.true_state()[0] - body.home).max()
    assert with_weight < 5e-3
    assert without > 10 * with_weight


@pytest.mark.parametrize(
    ("terms", "joint", "level"),
    [
        ({}, 0, 0.1),
        ({"stribeck": 0.5}, 0, 0.15),  # breaks away above the Coulomb friction
        ({"load_friction": 0.2}, 1, 0.122),  # the shoulder carries 16.5 N m
    ],
)
def test_dry_friction_holds_below_its_level_and_slips_above(
    terms: dict[str, float], joint: int, level: float
) -> None:
    body, plant = robot("ur5"), replace(IDEAL_PLANT, coulomb=0.1, **terms)
    zero = np.zeros(6)
    hold = body.inverse_dynamics(body.home, zero, zero)
    with Simulation(body, plant) as simulation:
        for fraction, moves in ((0.9 * level, False), (1.3 * level, True)):
            simulation.reset()
            push = hold.copy()
            push[joint] += np.copysign(fraction * body.effort[joint], hold[joint])
            for _ in range(40):
                simulation.step(push)
            displacement = abs(simulation.true_state()[0] - body.home)[joint]
            assert displacement > 1e-2 if moves else displacement < 1e-3


def test_viscous_friction_dissipates_energy() -> None:
    """Without friction a falling arm conserves energy; with viscous friction it loses energy."""
    body = robot("ur5")
    zero = np.zeros(6)

    def energy(simulation: Simulation) -> float:
        q, qd = simulation.true_state()
        height = 0.0
        for j in range(-1, simulation.client.getNumJoints(simulation.body)):
            if j >= 0:
                mass = simulation.client.getDynamicsInfo(simulation.body, j)[0]
                height += mass * simulation.client.getLinkState(simulation.body, j)[0][2]
        return float(qd @ body.mass_matrix(q) @ qd / 2 + 9.81 * height)

    with (
        Simulation(body, IDEAL_PLANT, obstacles=FREE_SPACE) as free,
        Simulation(body, replace(IDEAL_PLANT, viscous=0.05), obstacles=FREE_SPACE) as damped,
    ):
        levels = []
        for simulation in (free, damped):
            simulation.step(zero)
            levels.append([energy(simulation)])
            for _ in range(36):  # until the arm touches itself
                simulation.step(zero)
                levels[-1].append(energy(simulation))
    fall = np.array(levels[0])
    assert np.abs(fall - fall[0]).max() < 1.0  # [J], while about 50 J are converted
    assert (np.diff(levels[1]) < 1e-3).all() and levels[1][-1] < levels[1][0] - 5


def test_step_response_of_a_servo_is_that_of_a_damped_spring() -> None:
    """J e'' + (D + B) e' + K e = 0 in units of the effort limit, from rest."""
    body = robot("dofbot")
    plant = replace(load_plant("dofbot"), coulomb=0.0, delay=0.0, encoder_step=0.0)
    step = 0.05
    target = body.home.copy()
    target[0] += step  # turns about the vertical: no gravity
    with Simulation(body, plant) as simulation:
        times = np.arange(1, 16) / body.rate
        response = [(simulation.step(target), simulation.true_state()[0][0])[1] for _ in times]
    down = body.forward_kinematics(body.home)[2, 2]  # the wrist's rotor rotates too
    inertia = body.mass_matrix(body.home)[0, 0] / body.effort[0] + plant.rotor_inertia * (
        1 + down**2
    )
    damping = plant.servo_damping + plant.viscous
    fast, slow = np.roots([inertia, damping, plant.servo_stiffness])
    error = step * (slow * np.exp(fast * times) - fast * np.exp(slow * times)) / (slow - fast)
    np.testing.assert_allclose(response - body.home[0], step - error.real, atol=0.03 * step)


@pytest.mark.parametrize("ticks", [1, 3])
def test_delay_shifts_the_response_exactly(ticks: int) -> None:
    """The brakes hold until the first command takes effect."""
    body, responses = robot("ur5"), []
    for delay in (0.0, ticks / 125):
        with Simulation(body, replace(IDEAL_PLANT, delay=delay)) as simulation:
            push = body.inverse_dynamics(body.home, np.zeros(6), np.zeros(6))
            push[5] += 5.0
            rows = []
            for _ in range(10):
                simulation.step(push)
                rows.append(simulation.true_state()[0])
            responses.append(np.array(rows) - body.home)
    np.testing.assert_allclose(responses[1][ticks:], responses[0][:-ticks], atol=1e-4)
    assert np.abs(responses[1][:ticks]).max() < 1e-4 < 1e-3 * np.abs(responses[1]).max()


def test_positions_are_reported_in_steps_of_the_encoder() -> None:
    step = 1.43e-3
    with Simulation(robot("ur5"), replace(IDEAL_PLANT, encoder_step=step)) as simulation:
        for _ in range(20):
            sample = simulation.step(np.zeros(6))
            np.testing.assert_allclose(sample.q / step, np.round(sample.q / step), atol=1e-9)
            assert np.abs(sample.q - simulation.true_state()[0]).max() <= step / 2 + 1e-12


def test_sensor_noise_has_the_configured_std() -> None:
    plant = replace(IDEAL_PLANT, position_noise=1e-4, velocity_noise=1e-2)
    with Simulation(robot("ur5"), plant) as simulation:
        pairs = [(simulation.step(None), simulation.true_state()) for _ in range(150)]
    position = np.stack([sample.q - q for sample, (q, _) in pairs])
    velocity = np.stack([sample.qd - qd for sample, (_, qd) in pairs])
    assert position.std() == pytest.approx(1e-4, rel=0.15)
    assert velocity.std() == pytest.approx(1e-2, rel=0.15)


def test_an_arm_without_velocity_sensors_reports_none() -> None:
    with Simulation(robot("dofbot"), load_plant("dofbot")) as simulation:
        sample = simulation.step(robot("dofbot").home)
        assert sample.qd.size == 0 and sample.effort.size == 0 and sample.q.size == 5


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_brakes_hold_before_the_first_command_and_nothing_moves_long_after_the_last(
    arm: str,
) -> None:
    body = robot(arm)
    with Simulation(body, load_plant(arm)) as simulation:
        for _ in range(30):
            simulation.step(None)
        np.testing.assert_allclose(simulation.true_state()[0], body.home, atol=1e-3)
        zero = np.zeros(body.n)
        moving = body.inverse_dynamics(body.home, zero, zero) + 0.2 * body.effort
        for _ in range(10):
            simulation.step(moving if body.action_unit == "N m" else body.home + 0.1)
        for _ in range(25):
            simulation.step(None)
        q = simulation.true_state()[0]
        for _ in range(30):
            simulation.step(None)
        np.testing.assert_allclose(simulation.true_state()[0], q, atol=1e-3)


@pytest.mark.parametrize("arm", RIGID)
def test_watchdog_floats_the_arm_after_30_ms_and_brakes_after_100_ms(arm: str) -> None:
    """Without commands, no arm gains speed, whatever the last torque was, at any inertia."""
    body, zero = robot(arm), np.zeros(robot(arm).n)
    push = body.inverse_dynamics(body.home, zero, zero) + 0.5 * body.effort * np.sign(body.home)
    with Simulation(body, IDEAL_PLANT, obstacles=FREE_SPACE) as simulation:
        problems, speeds = [], []
        for k in range(round(0.4 * body.rate)):
            simulation.step(push if k < 2 else None)
            problems.append(simulation.drive.problem)
            speeds.append(np.abs(simulation.true_state()[1] / body.velocity).max())
    silence = np.arange(len(problems) - 1) / body.rate  # from the second command
    tolerated = max(2.5 / body.rate, 0.03)
    for s, problem in zip(silence, problems[1:], strict=True):
        if s < tolerated - 2 / body.rate:
            assert problem is None
        elif tolerated < s < 0.1 - 2 / body.rate:
            assert problem == GRAVITY_COMPENSATION
        elif s > 0.1 + 1 / body.rate:
            assert problem == BRAKES
    floating = [v for v, p in zip(speeds, problems, strict=True) if p == GRAVITY_COMPENSATION]
    assert floating[0] > 0.05 and floating[-1] < 0.9 * floating[0]
    assert speeds[-1] < 1e-3


def test_servo_without_commands_holds_its_last_setpoint() -> None:
    body = robot("dofbot")
    with Simulation(body, load_plant("dofbot")) as simulation:
        simulation.step(body.home + 0.2)
        for _ in range(100):
            simulation.step(None)
        assert simulation.problem is None
        np.testing.assert_allclose(simulation.true_state()[0], body.home + 0.2, atol=0.03)


@pytest.mark.parametrize(
    "obstacles", [None, Obstacles(False, (Box("slab", (3, 3, 0.1), (0, 0, -0.02)),))]
)
def test_a_falling_arm_ends_on_the_table_or_the_box(obstacles: Obstacles | None) -> None:
    """Every world is solid, and every contact is named and counted."""
    body = robot("ur5")
    surface, name = (0.0, "table") if obstacles is None else (0.03, "slab")
    with Simulation(body, load_plant("ur5"), obstacles=obstacles) as simulation:
        bodies = set()
        for _ in range(150):
            simulation.step(np.zeros(6))
            bodies |= {contact.other for contact in simulation.contacts()}
            lowest = min(
                simulation.client.getAABB(simulation.body, link)[0][2] for link in range(2, 11)
            )
            assert lowest > surface - 0.03  # a bounding box has a margin of 0.02
        assert name in bodies and simulation.contact_ticks > 10
        assert simulation.problem is not None and simulation.problem.startswith("contact: ")
        simulation.reset()
        assert simulation.contact_ticks == 0 and not simulation.contacts()


def test_arm_touches_itself_but_not_where_links_are_joined() -> None:
    """The forearm of a folding arm stops at the upper arm."""
    body = robot("ur5")
    folded = body.home.copy()
    folded[2] = 3.1
    with Simulation(body, load_plant("ur5"), "rad", obstacles=FREE_SPACE) as simulation:
        simulation.step(body.home)
        assert not simulation.contacts()
        for _ in range(200):
            simulation.step(folded)
        links = {frozenset(contact[:2]) for contact in simulation.contacts()}
        assert links and abs(simulation.true_state()[0][2] - folded[2]) > 0.05


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_torque_is_clipped_to_the_effort_limit(arm: str) -> None:
    body = robot(arm)
    with Simulation(body, IDEAL_PLANT if arm == "ur5" else load_plant(arm)) as simulation:
        for _ in range(5):
            simulation.step(np.full(body.n, 1e6))
        assert (np.abs(simulation.drive.applied_torque) <= body.effort).all()


@pytest.mark.parametrize("bad", [np.zeros(5), np.full(6, np.nan), np.full(6, np.inf)])
def test_bad_command_is_refused(bad: np.ndarray) -> None:
    with Simulation(robot("ur5"), IDEAL_PLANT) as simulation:
        with pytest.raises(ValueError, match="6 finite numbers"):
            simulation.step(bad)
        assert simulation.time == 0.0


def test_gripper_opens_and_closes_on_command() -> None:
    body = robot("ur5")
    assert body.gripper is not None
    with Simulation(body, IDEAL_PLANT) as simulation:
        for _ in range(150):
            closed = simulation.step(None, 0.0).opening
        for _ in range(150):
            opened = simulation.step(None, 1.0).opening
    assert closed < 2e-3
    assert opened == pytest.approx(body.gripper.max_opening, abs=2e-3)


def test_invalid_simulation_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="'A'"):
        Simulation(robot("ur5"), IDEAL_PLANT, unit="A")
    with pytest.raises(ValueError, match="no multiple"):
        Simulation(robot("ur5"), replace(IDEAL_PLANT, physics_rate=1001.0))
    with pytest.raises(
        ValueError, match="physics_rate is 50; it must be greater than or equal to 200"
    ):
        PlantConfig(physics_rate=50)
    with pytest.raises(
        ValueError, match=r"coulomb is -0\.1; it must be greater than or equal to 0"
    ):
        PlantConfig(coulomb=-0.1)
    with (
        Simulation(robot("ur5"), IDEAL_PLANT) as simulation,
        pytest.raises(ValueError, match="no block"),
    ):
        simulation.block_pose()


def test_plant_of_an_arm_can_be_changed() -> None:
    assert load_plant("ur5", payload=2.0) == replace(load_plant("ur5"), payload=2.0)
    assert load_plant("unknown") == PlantConfig()


def test_scene_is_randomized_by_seed_and_level() -> None:
    scene = load_scene("ur5")
    noise = load_randomization("default")
    first, same, other = (randomize_scene(scene, noise, 0, e) for e in (1, 1, 2))
    np.testing.assert_array_equal(first.camera.T_base_camera, same.camera.T_base_camera)
    assert first.light == same.light and first.friction == same.friction
    assert not np.array_equal(first.camera.T_base_camera, other.camera.T_base_camera)
    unchanged = randomize_scene(scene, load_randomization("none"), 0, 1)
    np.testing.assert_allclose(
        unchanged.camera.T_base_camera, scene.camera.T_base_camera, atol=1e-12
    )
    assert unchanged.friction == scene.friction and unchanged.pixel_noise == 0


@pytest.mark.parametrize("level", list(RANDOMIZATION_LEVELS))
def test_randomization_has_the_configured_std_and_stays_physical(level: str) -> None:
    scene, noise = load_scene("ur5"), RANDOMIZATION_LEVELS[level]
    scenes = [randomize_scene(scene, noise, 7, e) for e in range(300)]
    T = np.stack([s.camera.T_base_camera for s in scenes])
    offset = T[:, :3, 3] - scene.camera.T_base_camera[:3, 3]
    assert offset.std() == pytest.approx(noise.camera_position, rel=0.1)
    assert all(s.block_mass > 0 and s.friction > 0 for s in scenes)
    mass = np.array([s.block_mass for s in scenes]) / scene.block_mass
    assert mass.std() == pytest.approx(noise.block_mass, rel=0.15)


def test_error_of_an_unknown_level_lists_the_known_levels() -> None:
    with pytest.raises(ValueError, match=r"noise is 'unknown'.*hard"):
        load_randomization("unknown")
