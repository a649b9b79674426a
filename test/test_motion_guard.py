"""The motion guard: every plan that reaches the arm is safe up to its end at rest."""

import numpy as np
import pytest
from bullet_distances import BulletDistances

from invdyn_ros.control.clearance_check import ClearanceCheck
from invdyn_ros.control.motion_guard import MotionGuard, MotionGuardConfig
from invdyn_ros.control.motion_planner import MotionPlanner
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.target_planning import hold_plan, plan_to_target
from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.obstacles import Box, Obstacles
from invdyn_ros.robots.robot import ROBOTS, load_robot

WALL = Box("wall", (0.05, 2.0, 2.0), (-0.45, 0.0, 1.0))
SAFETY = SafetyLimitsConfig()


class Loop:
    """An arm that follows the plans of its guard exactly, tick by tick."""

    def __init__(self, name, box=WALL, q=None, scaled=True, **config):
        self.robot = load_robot(name)
        self.limits = Limits.from_robot(self.robot, SAFETY)
        self.config = MotionGuardConfig(**config)
        self.guard = MotionGuard(self.robot, self.limits, self.config, Obstacles(boxes=(box,)))
        self.nominal = self.active = hold_plan(self.robot.home if q is None else q, 0.0)
        self.scaled, self.time, self.ticks = scaled, 0.0, 0
        self.last = self.active.at(0.0)

    def tick(self, q, qd=None, horizon=0.0):
        """Advance by one control period with a target; return the state of the arm."""
        time, zero = self.time, np.zeros(self.robot.n)
        target = Target(time, State(q, zero if qd is None else qd, zero), horizon)
        scale = self.guard.speed_scale(self.nominal, time) if self.scaled else 1.0
        self.nominal = plan_to_target(self.active, target, time, self.limits.scaled(scale), SAFETY)
        self.active = self.guard.admit(self.nominal, self.active, time)
        state = self.active.at(time)
        self.check_step(state)
        self.last, self.ticks = state, self.ticks + 1
        self.time = self.ticks / self.robot.rate
        return state

    def check_step(self, state):
        """The motion is twice continuously differentiable, with limited jerk."""
        dt, limits = 1 / self.robot.rate, self.limits
        if self.ticks:
            assert (np.abs(state.qdd - self.last.qdd) <= limits.jerk * dt * (1 + 1e-6)).all()
        middle = self.last.q + dt / 2 * (self.last.qd + state.qd)
        np.testing.assert_allclose(state.q, middle, atol=limits.jerk.max() * dt**3)
        assert (np.abs(state.qd) <= limits.velocity * (1 + 1e-6)).all()
        assert (np.abs(state.qdd) <= limits.acceleration * (1 + 1e-6)).all()
        assert (state.q >= limits.lower - 1e-6).all()
        assert (state.q <= limits.upper + 1e-6).all()


def adversarial_target(rng, loop, kind):
    """A far target, a jump near the arm, a corner of the joint space, or a moving target."""
    robot, n = loop.robot, loop.robot.n
    if kind == 0:
        return rng.uniform(robot.lower, robot.upper), np.zeros(n), 0.0
    if kind == 1:
        return loop.last.q + rng.normal(0, 0.05, n), rng.normal(0, 0.3, n), 0.1
    if kind == 2:
        return np.where(rng.random(n) < 0.5, robot.lower, robot.upper), np.zeros(n), 0.05
    return loop.last.q + 0.2 * loop.last.qd + rng.normal(0, 0.02, n), loop.last.qd, 0.2


def largest_speed(robot, plan: Plan, times):
    """Largest speed of the tool and of the origins of all joints, from differences [m/s]."""
    links = [robot.tip_link, *(robot.model().body(i).name for i in range(1, robot.model().nbody))]
    h, largest = 1e-4, 0.0
    for time in times:
        before, after = (
            np.array(
                [robot.forward_kinematics(plan.at(time + dt).q, link)[:3, 3] for link in links]
            )
            for dt in (0, h)
        )
        largest = max(largest, np.linalg.norm(after - before, axis=1).max() / h)
    return largest


@pytest.mark.parametrize("name", ROBOTS)
def test_every_admitted_plan_is_safe_to_its_end(name):
    loop, rng = Loop(name), np.random.default_rng(7)
    bullet, pairs = BulletDistances(loop.robot, WALL), loop.guard.collision.pairs
    target, kind, nearest, fastest, checked = None, 0, 1.0, 0.0, None
    for tick in range(240):
        if tick % 60 == 0:
            kind, loop.scaled = rng.integers(0, 4), not loop.scaled
        if target is None or kind in (1, 3) or tick % 60 == 0:
            target = adversarial_target(rng, loop, kind)
        loop.tick(*target)
        plan = loop.active
        if tick % 12 or plan is checked:
            continue
        checked = plan
        times = [*rng.uniform(loop.time, plan.end_time, 2), plan.end_time]
        distances = [bullet.of_pairs(pairs, plan.at(t).q).min() for t in times]
        nearest = min(nearest, *distances)
        fastest = max(fastest, largest_speed(loop.robot, plan, times))
        assert np.abs(plan.at(plan.end_time + 1e-9).qd).max() == 0
    assert nearest > 0
    assert 0.1 < fastest <= loop.config.tool_speed * 1.001


def test_blocked_arm_rests_and_resumes():
    loop = Loop("ur5")
    target, reasons, speeds = loop.robot.home + 1.2 * np.eye(6)[1], set(), []
    for _ in range(300):
        state = loop.tick(target)
        reasons.add(loop.guard.reason)
        speeds.append(np.abs(state.qd).max())
    assert any("near table" in (r or "") or "table near" in (r or "") for r in reasons), reasons
    assert loop.guard.reason.startswith("blocked by ")
    starts = np.flatnonzero((np.array(speeds[1:]) > 1e-9) & (np.array(speeds[:-1]) <= 1e-9))
    assert len(starts) == 1  # it does not start again and again
    assert speeds[-1] == 0
    assert loop.guard.collision.clearance(loop.last.q).distance < 0.03  # it came close
    for _ in range(300):
        loop.tick(loop.robot.home)
    np.testing.assert_allclose(loop.last.q, loop.robot.home, atol=1e-4)
    assert loop.guard.reason is None


def test_blocked_arm_does_not_start_again_and_again_for_a_target_that_jitters():
    robot, rng = load_robot("kuka_iiwa"), np.random.default_rng(5)
    limits, still = Limits.from_robot(robot, SAFETY), np.zeros(7)
    guard = MotionGuard(robot, limits, MotionGuardConfig(), Obstacles())
    planner = MotionPlanner(7, limits, SAFETY, guard)
    planner.start(robot.home, 0.0)
    goal = rng.uniform(limits.lower, limits.upper)
    while guard.collision.clearance(goal).distance > -0.02:
        goal = rng.uniform(limits.lower, limits.upper)
    moves = []
    for tick in range(1500):
        time = tick / robot.rate
        if tick % 4 == 0:
            q = goal + 1e-3 * rng.standard_normal(7)
            planner.set_target(Target(time, State(q, still, still), 0.0))
        planner.update(time)
        moves.append(np.abs(planner.plan.at(time).qd).max() > 1e-9)
    assert planner.hold_reason.startswith("blocked by ")
    assert np.count_nonzero(np.diff(np.array(moves, int)) > 0) == 1


def test_arm_within_margin_may_only_leave_it():
    robot = load_robot("ur5")
    model = MotionGuard(robot, Limits.from_robot(robot, SAFETY), MotionGuardConfig(), Obstacles())
    away, towards = robot.home.copy(), robot.home.copy()
    for lift in np.linspace(0, 1.5, 400):  # lower the arm until it is 5 mm within the margin
        q = robot.home + lift * np.eye(6)[1]
        if model.collision.clearance(q).distance < -0.005:
            break
    away, towards = q - 0.3 * np.eye(6)[1], q + 0.3 * np.eye(6)[1]
    loop = Loop("ur5", q=q)
    start = loop.guard.collision.clearance(q).distance
    for _ in range(60):
        loop.tick(towards)
    assert loop.guard.reason.startswith("blocked by ")
    assert loop.guard.collision.clearance(loop.last.q).distance > start - loop.config.slack - 1e-6
    for _ in range(300):
        loop.tick(away)
    np.testing.assert_allclose(loop.last.q, away, atol=1e-3)
    assert loop.guard.reason is None


def test_refusal_names_the_bodies_that_come_too_close_not_the_nearest_ones():
    collision = CollisionModel(load_robot("ur5"), Obstacles())
    q = collision.robot.home
    clearances = collision.clearances(q)
    nearest, other = np.argsort(clearances)[:2]
    required = np.append(np.minimum(clearances, 0) - 1.0, 0.0)
    for pair in (nearest, other):
        check, raised = ClearanceCheck(collision), required.copy()
        check.set_budget(10)
        raised[pair] = clearances[pair] + 1e-3
        assert not check.end_is_clear(q, raised)
        assert set(check.nearest) == set(collision.pairs[pair])


def test_box_between_arm_and_target_is_not_touched():
    robot = load_robot("ur5")
    tool = robot.forward_kinematics(robot.home)[:3, 3]
    box = Box("post", (0.1, 0.1, 1.0), (tool[0], tool[1] + 0.3, 0.5))
    loop = Loop("ur5", box=box)
    target = robot.home + 1.5 * np.eye(6)[0]  # turn into the post
    for _ in range(300):
        loop.tick(target)
        assert loop.guard.collision.clearance(loop.last.q).distance > 0
    assert "post" in loop.guard.reason
    assert np.abs(loop.last.qd).max() == 0


def test_plan_that_does_not_continue_the_motion_is_refused():
    loop = Loop("ur5")
    loop.tick(loop.robot.home + 0.3)
    jump = hold_plan(loop.robot.home + 0.1, loop.time)
    assert loop.guard.admit(jump, loop.active, loop.time).profile is loop.active.profile
    assert loop.guard.reason == "the plan does not continue the motion"


@pytest.mark.parametrize("epoch", [0.0, 1.7e9])
def test_motion_goes_on_after_a_gap_of_joint_states(epoch):
    """A gap that outlasts the verified part of a plan is no hold, and causes no jump."""
    robot, rng = load_robot("ur5"), np.random.default_rng(2)
    limits, still = Limits.from_robot(robot, SAFETY), np.zeros(6)
    planner = MotionPlanner(
        6, limits, SAFETY, MotionGuard(robot, limits, MotionGuardConfig(), Obstacles())
    )
    planner.start(robot.home, epoch)
    time, q, reasons, gaps = epoch, robot.home, set(), 0
    for tick in range(500):
        if tick % 4 == 0:
            q = robot.home + rng.uniform(-0.5, 0.5, 6)
            planner.set_target(Target(time, State(q, still, still), 0.0))
        planner.update(time)
        reasons.add(planner.hold_reason)
        gap = rng.integers(1, 8) if rng.random() < 0.2 else 1
        before, time = planner.plan, time + gap / robot.rate
        planner.update(time)
        for a, b in zip(before.at(time), planner.plan.at(time), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        gaps += gap > 2 and np.abs(planner.plan.at(time).qd).max() > 0.1
    assert gaps > 20
    assert "the plan does not continue the motion" not in reasons, reasons


def test_motion_without_budget_is_refused():
    config = CollisionConfig(range=0.001)
    loop = Loop("ur5", max_configurations=2, collision=config)
    for _ in range(20):
        loop.tick(loop.robot.home + 0.5)
    np.testing.assert_array_equal(loop.last.q, loop.robot.home)
    assert loop.guard.reason == "blocked: the motion takes too long to verify"


def test_arm_slows_down_on_its_way_into_a_singularity_only():
    loop = Loop("ur5")
    stretched = loop.robot.home.copy()
    stretched[2] = 0.02
    scales = []
    for target in (stretched, loop.robot.home):
        for _ in range(200):
            loop.tick(target)
            scales.append(loop.guard.speed_scale(loop.nominal, loop.time))
    assert min(scales[:200]) < 0.5
    assert scales[-1] == 1
