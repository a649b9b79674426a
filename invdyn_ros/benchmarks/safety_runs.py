"""Long and late runs of the safety benchmark: random persons and targets, delayed commands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from invdyn_ros.benchmarks.safety_checks import MotionChecker, Tally, Ticks
from invdyn_ros.benchmarks.safety_rig import (
    START_TIME,
    TARGET_RATE,
    DrivenArm,
    Sample,
    Setup,
    action_bounds,
    tool_speed_limit,
    wave,
)
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_directions import NUM_LANDMARKS
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array

DELAY_SECONDS, DELAY_WAVE = 6.0, 0.3  # [s] of a run with late commands; [rad] of its motion
PERSON_SECONDS, JOINT_SECONDS = 40.0, 20.0  # [s] of a person, and of targets of joints, in turns
HIP, SHOULDERS, ELBOWS, WRISTS = [23, 24], [11, 12], [13, 14], [15, 16]


@dataclass
class DrivenResult:
    """Result of a run on the simulated arm.

    Attributes:
        tally: violations of the reference and the actions.
        targets: number of targets.
        rms: tracking error [rad].
        peak_speed: largest true speed as a fraction of the rated one [-].
        beyond: largest true distance beyond a joint limit [rad].
        contacts: control steps with a contact.
        faults: fault -> number of times it was latched.
        reasons: why the arm held -> number of ticks.
        held: fraction of the ticks in which the arm held or stood stopped [-].
    """

    tally: Tally = field(default_factory=Tally)
    targets: int = 0
    rms: float = 0.0
    peak_speed: float = 0.0
    beyond: float = 0.0
    contacts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    held: float = 0.0


def run_delay(job: tuple[Setup, float]) -> DrivenResult:
    """Drive an arm along a motion while its commands arrive late.

    Args:
        job: the arm, and the additional delay [s].
    """
    setup, delay = job
    with DrivenArm(setup, delay=delay) as arm:
        while arm.time < START_TIME + DELAY_SECONDS:
            state = wave(arm.robot, arm.time, DELAY_WAVE)
            arm.step(Target(arm.time, state, 0.0) if arm.camera_due else None)
        return summarize(arm, arm.samples, round(DELAY_SECONDS * TARGET_RATE))


def run_persons(job: tuple[Setup, float, int]) -> DrivenResult:
    """Drive an arm with random persons and random targets of its joints, in turns.

    Args:
        job: the arm, the duration [s] and the seed.
    """
    setup, seconds, seed = job
    rng = np.random.default_rng(seed)
    result, sums = DrivenResult(), [0.0, 0.0, 0.0]
    with DrivenArm(setup, seed=seed) as arm:
        retargeter, end = Retargeter(arm.robot), arm.time + seconds
        while arm.time < end:
            start, n = arm.time, result.targets
            if rng.random() < PERSON_SECONDS / (PERSON_SECONDS + JOINT_SECONDS):
                person = RandomPerson(rng)
                retargeter.reset(arm.simulation.state().q)
                while arm.time < min(start + JOINT_SECONDS, end):
                    n += _follow_person(arm, retargeter, person)
            else:
                goals = RandomGoals(arm.robot, rng)
                while arm.time < min(start + JOINT_SECONDS, end):
                    n += arm.camera_due
                    arm.step(goals(arm.time) if arm.camera_due else None)
            part = summarize(arm, arm.samples, 0)
            result.targets = n
            _add(result, part, len(arm.samples), sums)
            if arm.controller.fault is not None:
                _wait_and_engage(arm)
            arm.samples.clear()
    result.rms, result.held = np.sqrt(sums[0] / max(sums[1], 1)), sums[2] / arm.ticks
    return result


def _follow_person(arm: DrivenArm, retargeter: Retargeter, person: RandomPerson) -> int:
    """Run one tick; return the number of targets that were sent."""
    target = None
    if arm.camera_due:
        moved = retargeter(person(arm.time), arm.time)
        state = State(moved.q, moved.qd, np.zeros_like(moved.q))
        target = Target(arm.time, state, 0.0)
    arm.step(target)
    return int(target is not None)


def _wait_and_engage(arm: DrivenArm) -> None:
    """Wait until a stopped arm can be engaged again, a second at most."""
    end = arm.time + 1.0
    while arm.time < end and arm.controller.engage(True) is not None:
        arm.step(None)


def _add(result: DrivenResult, part: DrivenResult, ticks: int, sums: list[float]) -> None:
    """Add a part of a run.

    Args:
        result: to add to.
        part: to add.
        ticks: number of ticks of the part.
        sums: squared errors, number of errors, held ticks.
    """
    result.tally.merge(part.tally)
    result.peak_speed = max(result.peak_speed, part.peak_speed)
    result.beyond = max(result.beyond, part.beyond)
    result.contacts = part.contacts
    result.faults += part.faults
    result.reasons += part.reasons
    sums[0] += part.rms**2 * ticks
    sums[1] += ticks
    sums[2] += part.held * ticks


def summarize(arm: DrivenArm, samples: list[Sample], targets: int) -> DrivenResult:
    """Measure consecutive ticks of an arm.

    Args:
        arm: the arm.
        samples: the ticks.
        targets: number of targets that were sent.
    """
    robot = arm.robot
    q, qd = (np.array([getattr(s, name) for s in samples]) for name in ("q", "qd"))
    desired = np.array([s.reference for s in samples])  # (T, 3n)
    driven = np.isfinite(desired).all(axis=1)
    faulty = np.array([s.fault is not None for s in samples])
    error = (q - desired[:, : robot.n])[driven & ~faulty]
    result = DrivenResult(
        targets=targets,
        rms=float(np.sqrt(np.mean(error**2))) if len(error) else 0.0,
        peak_speed=float((np.abs(qd) / robot.velocity).max()),
        beyond=float(np.maximum(q - robot.upper, robot.lower - q).max()),
        contacts=arm.simulation.contact_ticks,
    )
    latched = [s.fault for s, f in zip(samples, np.diff(faulty, prepend=0) > 0, strict=True) if f]
    result.faults.update(str(fault).partition(":")[0] for fault in latched)
    result.reasons.update(s.reason for s in samples if s.reason and not s.fault)
    result.held = float(np.mean([s.fault is not None or s.holds for s in samples]))
    ticks = Ticks(
        np.array([s.time for s in samples]),
        desired,
        q,
        np.array([s.action for s in samples]),
        np.cumsum(np.diff(faulty, prepend=0) != 0).astype(float),
        np.zeros(len(samples), bool),
    )
    kept = driven & ~faulty
    ticks = Ticks(*(part[kept] for part in vars(ticks).values()))
    checker = MotionChecker(
        robot,
        arm.controller.unit,
        arm.controller.limits,
        tool_speed_limit(),
        action_bounds(),
    )
    checker.check(ticks, result.tally)
    return result


class RandomGoals:
    """Random positions of all joints, also such as the arm cannot or must not reach."""

    def __init__(self, robot: Robot, rng: np.random.Generator) -> None:
        """Create the goals of an arm."""
        self.robot, self.rng = robot, rng
        self._next, self._goal = 0.0, robot.home

    def __call__(self, time: float) -> Target:
        """Return the target at a time [s]."""
        robot, rng = self.robot, self.rng
        if time >= self._next:
            self._next = time + rng.uniform(0.3, 4.0)
            if rng.random() < 0.5:  # within reach
                goal = robot.home + rng.normal(0, 0.5, robot.n)
            else:
                goal = rng.uniform(1.1 * robot.lower, 1.1 * robot.upper)
            self._goal = goal
        zero = np.zeros(robot.n)
        return Target(time, State(self._goal, zero, zero), 0.0)


class RandomPerson:
    """Landmarks of a person whose arms and body move at random, and who is not always seen."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw proportions, places and tempo."""
        self.rng = rng
        self.lengths = rng.uniform(0.2, 0.4, 2)  # upper arm, forearm [m]
        self.width, self.height = rng.uniform(0.25, 0.5), rng.uniform(0.35, 0.6)  # [m]
        self.mirrored = rng.random() < 0.1
        self._frequency = rng.uniform(0.02, 0.8, (6, 3))  # [Hz]
        self._phase = rng.uniform(0, 2 * np.pi, (6, 3))
        self._noise = 10 ** rng.uniform(-3.5, -2.0)  # [m]
        self._gone_until = self._jump_at = 0.0

    def __call__(self, time: float) -> Array | None:
        """Return the landmarks (33, 4) at a time [s], None while nobody is seen."""
        rng = self.rng
        if time < self._gone_until:
            return None
        if rng.random() < 0.002:
            self._gone_until = time + rng.exponential(0.5)
        if rng.random() < 0.001:  # somebody else
            self._phase = rng.uniform(0, 2 * np.pi, (6, 3))
            self.lengths = rng.uniform(0.2, 0.4, 2)
        waves = np.sin(2 * np.pi * self._frequency * time + self._phase)  # (6, 3)
        points = np.zeros((NUM_LANDMARKS, 3))
        side = np.array([[1.0], [-1.0]]) * (-1 if self.mirrored else 1)
        points[HIP] = side * [0, 0.1, 0]
        points[SHOULDERS] = side * [0, self.width / 2, 0]
        points[SHOULDERS] += [0.05 * waves[4, 0], 0, self.height]
        points[ELBOWS] = points[SHOULDERS] + self.lengths[0] * self._direction(waves[0:2])
        points[WRISTS] = points[ELBOWS] + self.lengths[1] * self._direction(waves[2:4])
        yaw = 0.8 * waves[5, 0]
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        points = points @ turn.T + self._noise * rng.standard_normal(points.shape)
        visibility = np.full(NUM_LANDMARKS, 0.95)
        visibility[WRISTS] = 0.5 + 0.6 * waves[5, 1]
        return np.column_stack([points, np.clip(visibility, 0, 1)])

    def _direction(self, waves: Array) -> Array:
        """Return the unit directions (2, 3) of a bone of both arms."""
        directions = waves + np.array([0.6, 0.0, -0.4])
        return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))
