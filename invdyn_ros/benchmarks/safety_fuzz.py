"""Fuzz of the arm controller: random inputs on an ideal arm, every tick checked."""

from __future__ import annotations

import time as clocks
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from invdyn_ros.benchmarks.safety_checks import ContactProbe, MotionChecker, Tally, Ticks
from invdyn_ros.benchmarks.safety_inputs import DISTURBANCES, TargetStream, random_disturbance
from invdyn_ros.benchmarks.safety_rig import action_bounds, tool_speed_limit
from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.measurement_monitor import REORDERING
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.typing import Array

CHUNK = 500  # ticks with one kind of targets and of disturbance
CHUNKS_PER_SESSION = 6  # between starts at a random configuration
CLEAN_FRACTION = 0.35  # of the chunks, without a disturbance
CONTACT_INTERVAL = 25  # ticks between two checks of the distances
COST_INTERVAL = 4  # ticks between two that are timed
RECOVERY_TICKS = 20  # between two attempts to engage again
CHECK_RATE = 100.0  # of the watchdog [Hz]
START_CLEARANCE = 0.02  # [m] of a random start
WALL_CLOCK = 1.7e9  # [s] stamps of a real arm
NOISE = 1e-5  # [rad] and, times 100, [rad/s]


class ExactModel:
    """Inverse dynamics of the URDF, or setpoints without error."""

    n_obs_steps = 1

    def __init__(self, robot: Robot, unit: str) -> None:
        """Create the model of an arm for a unit of actions."""
        self.robot, self.unit = robot, unit

    def act(self, frame: Array) -> Array:
        """Return the action (n,) of one frame of motion (3n,)."""
        q, qd, qdd = frame.reshape(3, -1)
        return self.robot.inverse_dynamics(q, qd, qdd) if self.unit == "N m" else q

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the action of the last frame of a window."""
        return PredictedAction(np.array(self.act(motion[0, -1]))[None, None], None)


class FuzzJob(NamedTuple):
    """One arm in one unit.

    Attributes:
        arm: name of the arm.
        unit: unit of the actions.
        ticks: number of ticks.
        seed: random seed.
    """

    arm: str
    unit: str
    ticks: int
    seed: int


@dataclass
class FuzzResult:
    """Result of a job.

    Attributes:
        tally: violations.
        ticks: number of control ticks.
        driven: ticks with a command.
        moving: ticks in which the reference moves.
        faults: fault -> number of times it was latched.
        reasons: why the arm held -> number of ticks.
        refusals: number of refused attempts to engage.
        cost: processor time of some of the ticks [s].
        examples: first violations, in words.
    """

    tally: Tally = field(default_factory=Tally)
    ticks: int = 0
    driven: int = 0
    moving: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    refusals: int = 0
    cost: list[Array] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


def run_fuzz(job: FuzzJob) -> FuzzResult:
    """Drive an ideal arm with random inputs and check every tick."""
    fuzz = _Fuzz(job)
    try:
        while fuzz.result.ticks < job.ticks:
            fuzz.run_session()
    finally:
        fuzz.probe.close()
    return fuzz.result


class _Fuzz:
    """State of one job: the controller, and an arm that follows its plan exactly."""

    def __init__(self, job: FuzzJob) -> None:
        self.job, self.robot = job, load_robot(job.arm)
        self.rng = np.random.default_rng([job.seed, *job.arm.encode(), *job.unit.encode()])
        obstacles = load_arm_obstacles(job.arm)
        self.controller = ArmController(
            self.robot, ExactModel(self.robot, job.unit), job.unit, 0.0, obstacles=obstacles
        )
        self.checker = MotionChecker(
            self.robot, job.unit, self.controller.limits, tool_speed_limit(), action_bounds()
        )
        self.probe = ContactProbe(self.robot, obstacles)
        self.collision = CollisionModel(self.robot, obstacles)
        self.stream, self.result = TargetStream(self.robot, self.rng), FuzzResult()
        self.period = 1 / self.robot.rate
        self.segment = self.calls = 0

    def run_session(self) -> None:
        """Start at a random configuration, then run some chunks."""
        robot, rng = self.robot, self.rng
        self.q, self.qd = self._free_configuration(), np.zeros(robot.n)
        self.time = float(rng.choice([0.0, 100.0, WALL_CLOCK]))
        self.latency = None if rng.random() < 0.3 else float(rng.normal(0, 1e3))
        self.last: MeasuredState | None = None
        self.has_fault, self.next_attempt = False, 0
        self.controller.stop()
        self.controller.reset()
        self.controller.engage(True)
        self.segment += 1
        for _ in range(CHUNKS_PER_SESSION):
            self._run_chunk()

    def _free_configuration(self) -> Array:
        """Return a random configuration with all clearances and away from the limits."""
        limits = self.controller.limits
        for _ in range(200):
            q: Array = self.rng.uniform(limits.lower + 0.01, limits.upper - 0.01)
            # PyBullet does not find all pairs that are near
            is_clear = self.collision.clearances(q).min() > 0
            if is_clear and not self.probe.contacts(q, START_CLEARANCE):
                return q
        return self.robot.home.copy()

    def _run_chunk(self) -> None:
        robot, rng, controller = self.robot, self.rng, self.controller
        steps = np.full(CHUNK, self.period)
        if self.latency is not None and rng.random() < 0.5:  # joint states are not quite regular
            steps *= rng.uniform(0.5, 1.5, CHUNK)
        times = self.time + np.cumsum(steps)
        targets = self.stream.targets(times)
        name = "noise" if rng.random() < CLEAN_FRACTION else str(rng.choice(list(DISTURBANCES)))
        self.disturbance = disturbance = random_disturbance(name, robot, CHUNK, rng)
        noise = NOISE * rng.standard_normal((CHUNK, 2 * robot.n))
        self.ticks, self.count = Ticks.empty(2 * CHUNK, robot.n), 0
        self.cost: list[float] = []
        first_call = self.calls
        next_check = times[0]
        for k, now in enumerate(times.tolist()):
            if (target := targets[k]) is not None:
                controller.set_target(target)
            if disturbance.paused[k]:
                continue
            plan = controller.plan
            if plan is not None and not self.has_fault:
                state = plan.at(now)
                self.q, self.qd = state.q, state.qd
            if not disturbance.delivery[k]:
                if self.latency is not None and now >= next_check:
                    next_check = now + 1 / CHECK_RATE
                    self._record(controller.check(now + self.latency), now, now, self.q)
                continue
            self._deliver(k, now, noise[k])
            self._engage_again(k)
        self.time = float(times[-1])
        self.result.ticks += self.calls - first_call
        self._check(name)

    def _deliver(self, k: int, now: float, noise: Array) -> None:
        """Give the joint state of tick k, disturbed, to the controller."""
        disturbance, n = self.disturbance, self.robot.n
        stamp = now + disturbance.stamp_offset[k]
        q = self.q + noise[:n] + disturbance.offset[k]
        qd = self.qd + 100 * noise[n:] + disturbance.velocity_offset[k]
        fresh, last, delivery = MeasuredState(stamp, q, qd), self.last, disturbance.delivery[k]
        states = [fresh]
        if last is not None and delivery == 2:
            states = [last]
        elif last is not None and delivery == 3:
            states = [MeasuredState(stamp, last.q, last.qd)]
        elif last is not None and delivery == 4:
            states = [fresh, last]
        for measured in states:
            clock = None if self.latency is None else now + self.latency
            self.calls += 1
            if self.calls % COST_INTERVAL:
                command = self.controller.update(measured, clock)
            else:
                start = clocks.thread_time()  # a slow system call
                command = self.controller.update(measured, clock)
                self.cost.append(clocks.thread_time() - start)
            self._record(command, measured.time, now, measured.q)
        self.last = states[0]

    def _record(self, command: Command | None, time: float, now: float, measured: Array) -> None:
        """Note what the controller sends, and let the arm do it.

        Args:
            command: what it sends.
            time: stamp of the joint state [s].
            now: present time [s].
            measured: (n,) position in the joint state [rad].
        """
        if command is None:
            return
        result = self.result
        if command.reason is not None and command.fault is None:
            result.reasons[command.reason] += 1
        if command.fault is not None and not self.has_fault:
            self.has_fault = True
            self.segment += 1
            result.faults[command.fault.partition(":")[0]] += 1
            self.next_attempt = RECOVERY_TICKS
            self.fault_time = time
        desired = command.desired
        if self.has_fault:
            # without a clock, the controller takes each call for one control period
            self.fault_time += self.period if self.latency is None else now - self.fault_time
            if self.job.unit == "rad":  # a torque belongs to the stamp of its joint state
                time = self.fault_time
            if desired is not None and command.action is not None:
                self.q, self.qd = desired.q, desired.qd
            else:
                self.qd = np.zeros(self.robot.n)  # the brakes
            measured = self.q
        if desired is None or command.action is None:
            return
        ticks, k = self.ticks, self.count
        if self.latency is None and k and time < ticks.time[k - 1] - REORDERING:
            self.segment += 1  # simulated time has started again
        ticks.time[k], ticks.segment[k], ticks.joints[k] = time, self.segment, measured
        ticks.reference[k] = np.concatenate(desired)
        ticks.action[k] = command.action
        ticks.braking[k] = self.has_fault and self.job.unit == "N m"
        self.count += 1

    def _engage_again(self, k: int) -> None:
        """Engage from time to time after a fault."""
        if not self.has_fault:
            return
        self.next_attempt -= 1
        disturbance = self.disturbance
        is_wrong = disturbance.offset[k].any() and disturbance.name != "noise"
        if self.next_attempt > 0 or is_wrong:  # nobody engages an arm that is measured elsewhere
            return
        if self.controller.engage(True) is None:
            self.has_fault = False
            self.segment += 1
        else:
            self.result.refusals += 1
            self.next_attempt = RECOVERY_TICKS

    def _check(self, name: str) -> None:
        """Check the ticks of a chunk."""
        ticks, result, n = self.ticks.first(self.count), self.result, self.robot.n
        result.driven += self.count
        result.cost.append(np.array(self.cost))
        bad = self.checker.check(ticks, result.tally)
        result.moving += int((np.abs(ticks.reference[:, n : 2 * n]) > 1e-3).any(axis=1).sum())
        for k in range(0, self.count, CONTACT_INTERVAL):
            q = ticks.reference[k, :n]
            contacts = self.probe.contacts(q) if np.isfinite(q).all() else ()
            if result.tally.add("collision", np.array([2.0 * len(contacts)]))[0]:
                bad[k] = True
                self._example(f"{contacts[0][:2]} {contacts[0].distance:.4f} m, {name}")
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            self._example(f"{name}: tick {k} of session at {ticks.time[k]:.3f} s")

    def _example(self, text: str) -> None:
        if len(self.result.examples) < 20:
            self.result.examples.append(f"{self.job.arm} [{self.job.unit}] {text}")
