"""The retargeted arm keeps clear of everything, starts slowly, and waits for the measured arm."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_person import (
    DT,
    each_arm,
    follow_until_settled,
    moving_arm_directions,
    person_landmarks,
    unit,
    with_noise,
)

from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.inverse_kinematics import PositionIKSolver
from invdyn_ros.robots.obstacles import Box, Obstacles
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.teleop.target_tracker import TargetTracker

WALL = Obstacles(boxes=(Box("wall", (0.1, 2.0, 1.0), (0.45, 0.0, 0.5)),))


def random_person(seed):
    """Yield landmarks of a person whose arm goes everywhere, and sometimes jumps."""
    rng = np.random.default_rng(seed)
    directions, velocity = np.array([[0.3, 0.3, -0.9], [0.9, 0.0, 0.2]]), np.zeros((2, 3))
    while True:
        velocity += -2.5 * velocity * DT + rng.normal(0, 5 * DT**0.5, (2, 3))
        directions += velocity * DT
        if rng.random() < 0.02:
            directions = rng.normal(size=(2, 3))
        directions = np.array([unit(d) for d in directions])
        yield with_noise(person_landmarks(*directions), rng.integers(1_000_000))


@each_arm
@pytest.mark.parametrize("obstacles", [Obstacles(), WALL], ids=["table", "wall"])
def test_whole_arm_of_any_person_keeps_clear_of_table_wall_and_itself(robot, obstacles):
    collision = CollisionModel(robot, obstacles)
    free = collision.clearance(robot.home).distance >= 0
    retargeter = Retargeter(robot, RetargetConfig(), obstacles)
    reasons = set()
    for k, landmarks in zip(range(250), random_person(1), strict=False):
        result = retargeter(landmarks, k * DT)
        reasons.add(result.unreachable_reason)
        assert collision.clearance(result.q).distance >= 0 or not free
    assert not free or reasons & {"near itself", "near the table", "near an obstacle", None}


@pytest.mark.parametrize("speed", [0.3, 1.0])
def test_state_of_the_arm_can_always_stop_clear(speed):
    robot = load_robot("kuka_iiwa")
    collision, retargeter = CollisionModel(robot, Obstacles()), Retargeter(robot)
    person = random_person(2)
    for k in range(120):
        retargeter(next(person), k * DT)
        limiter = retargeter._tracker.limiter
        for q in limiter.braking_positions(limiter.q, limiter.qd, DT * speed):
            assert collision.clearance(q).distance >= -0.002


def test_reason_names_what_the_arm_is_near():
    hanging = person_landmarks([0.2, 0.1, -1], [0.3, 0, -1])
    iiwa = Retargeter(load_robot("kuka_iiwa"), RetargetConfig(mount="table"))
    assert follow_until_settled(iiwa, hanging).unreachable_reason in (
        "near the table",
        "below the base",
    )
    forward = person_landmarks([1, 0, 0], [1, 0, 0])
    ur5 = load_robot("ur5")
    assert follow_until_settled(Retargeter(ur5), forward).reachable
    blocked = follow_until_settled(Retargeter(ur5, obstacles=WALL), forward)
    assert blocked.unreachable_reason == "near an obstacle"
    assert blocked.target_distance > 0.05


@pytest.mark.parametrize("clearance", [0.0, 0.00015, 0.0009])
@pytest.mark.parametrize("arm", ["ur5", "ur5e", "dofbot"])
def test_arm_that_all_but_touches_the_table_moves_along_it(arm, clearance):
    """Where the person pushes the tool down and to the side."""
    retargeter = Retargeter(load_robot(arm), RetargetConfig(tool="down"))
    tracker = retargeter._tracker
    solver, collision, q = tracker.solver, tracker.collision, retargeter.robot.home
    free = PositionIKSolver(retargeter.robot, retargeter.links, 1.0, margin=0.0)
    place = solver.positions(q)
    while (distance := collision.clearances(q).min()) > clearance + 1e-5:
        place = place - [0, 0, 0.5 * (distance - clearance)]
        q = free.solve(place, q, 99).q
    retargeter.reset(q)
    for _ in range(60):
        tracker.follow(place + np.array([0, 0.1, -0.3]), DT)
        assert collision.clearances(tracker.limiter.q).min() > -1e-6
    moved = solver.positions(tracker.limiter.q) - place
    assert moved[0, 1] > 0.08


@each_arm
def test_arm_starts_slowly_after_a_hold_and_speed_increases_smoothly(robot):
    retargeter = Retargeter(robot)
    follow_until_settled(retargeter, person_landmarks(*moving_arm_directions(0.0)))
    person = person_landmarks(unit([0.2, 0.9, 0.4]), unit([0.3, 0.9, 0.5]))
    for i in range(20):
        retargeter(None, 6 + i * DT)
    results = [retargeter(with_noise(person, i), 7 + i * DT) for i in range(60)]
    first = next(i for i, r in enumerate(results) if r.hold_reason is None)
    assert first * DT == pytest.approx(0.5)
    fraction = np.array([np.abs(r.qd / robot.velocity).max() for r in results[first:]])
    elapsed = (1 + np.arange(len(fraction))) * DT
    ramp = np.maximum((elapsed / TargetTracker.SLOW_IN_TIME) ** 2, TargetTracker.MIN_SPEED)
    assert (fraction <= ramp + 1e-9).all()
    assert fraction.max() > 0.3


def test_short_gap_costs_little_speed():
    retargeter, last = Retargeter(load_robot("ur5")), 0.0
    for k in range(100):
        landmarks = with_noise(person_landmarks(*moving_arm_directions(k * DT)), k)
        result = retargeter(None if k % 20 == 19 else landmarks, k * DT)
        last = result.target_distance if result.hold_reason is None else last
    assert last < 0.01


def test_arm_that_stands_still_is_waited_for_and_then_followed_from_where_it_is():
    robot = load_robot("ur5")
    retargeter, standing = Retargeter(robot), robot.home.copy()
    retargeter.reset(standing)
    person = person_landmarks(unit([0.2, 0.9, 0.4]), unit([0.3, 0.9, 0.5]))
    for i in range(100):
        result = retargeter(with_noise(person, i), i * DT, measured=standing)
        assert np.abs(result.q - standing).max() <= TargetTracker.MAX_LEAD + 1e-9
    moved = standing + np.array([0.0, -0.2, 0.3, 1.2, 0.0, 0.0])  # by hand
    held = [retargeter(with_noise(person, i), i * DT, measured=moved) for i in range(100, 110)]
    assert held[0].hold_reason == "arm is elsewhere"
    first = next(r for r in held if r.hold_reason is None)
    assert np.abs(first.q - moved).max() < 0.02


def test_tool_is_no_faster_than_the_limit_and_arrives_without_overshoot():
    robot = load_robot("ur5")
    retargeter = Retargeter(robot, RetargetConfig(tool_speed=0.5))
    low, high = (person_landmarks([0.2, 0, -1], [1, 0, z]) for z in (-0.4, 0.9))
    follow_until_settled(retargeter, low, seconds=5)
    tips = []
    for k in range(60):
        result = retargeter(with_noise(high, k), 5 + k * DT)
        tips.append(robot.forward_kinematics(result.q)[:3, 3])
    moved = np.linalg.norm(np.diff(tips, axis=0), axis=1)
    limit = TargetTracker.SPEED_FRACTION * 0.5
    assert moved.max() < 1.5 * limit * DT, "but for a moment, when the target jumps"
    assert 0.85 * limit * DT < np.sort(moved)[-4] < 1.02 * limit * DT, "a wrist is faster"
    way = (np.array(tips) - tips[0]) @ unit(result.hand_target - tips[0])
    assert way[-1] > 0.15 and way.max() < way[-1] + 0.005


@pytest.mark.parametrize("arm", ["ur5e", "dofbot"])
def test_no_joint_is_faster_than_the_tool_may_be(arm):
    """The motion guard refuses plans with which the elbow or a wrist is faster than the tool."""
    robot = load_robot(arm)
    retargeter, model = Retargeter(robot, RetargetConfig(tool_speed=0.4)), robot.model()
    links = [model.body(body).name for body in model.jnt_bodyid] + [robot.tip_link]
    places = []
    for k, landmarks in zip(range(150), random_person(3), strict=False):
        q = retargeter(landmarks, k * DT).q
        places.append([robot.forward_kinematics(q, link)[:3, 3] for link in links])
    speed = np.linalg.norm(np.diff(places, axis=0), axis=2).max(axis=1) / DT
    assert np.percentile(speed, 95) < 1.02 * TargetTracker.SPEED_FRACTION * 0.4
    assert speed.max() < 0.4, "where a joint cannot brake as fast as the arm unfolds"
    assert speed.max() > 0.9 * TargetTracker.SPEED_FRACTION * 0.4


def test_arm_that_is_blocked_is_led_on_from_where_it_stands():
    robot = load_robot("ur5")
    retargeter, person = Retargeter(robot), person_landmarks([0.2, 0.3, -1], [1, 0.3, 0.3])
    leads = []
    for k in range(40):
        q = retargeter(with_noise(person, k), k * DT, measured=robot.home).q
        leads.append(np.abs(q - robot.home).max())
    assert 0.05 < max(leads) < 0.3, "it is led a little, again and again"
    assert sum(lead < 0.05 for lead in leads[20:]) > 3


def test_target_of_the_hand_does_not_jump_at_the_edges_of_the_workspace():
    """The projection is continuous but for the axis of the column on the base."""
    workspace = Retargeter(load_robot("ur5")).workspace
    rng, step = np.random.default_rng(0), 1e-4
    for point in workspace.shoulder + rng.uniform(-0.4, 0.4, (3000, 3)):
        if np.linalg.norm(point[:2] - workspace.shoulder[:2]) < 0.02:
            continue
        moved = point + step * unit(rng.normal(size=3))
        jump = np.linalg.norm(workspace.project(moved)[0] - workspace.project(point)[0])
        assert jump <= 10 * step
