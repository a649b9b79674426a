"""Benchmark of the lag of an arm behind a person's hand, its overshoot, and its jitter at rest.

A person with known motions and the noise of a pose network is retargeted to a simulated arm, which
is driven through the motion guard with its shipped model, as in the graph of teleop. The tool is
compared with the true hand, scaled to the arm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.gestures import PERIOD, Gesture, GesturingPerson, reach, rest, wave
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.benchmarks.safety_rig import DrivenArm, Setup
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.evaluation.person_errors import find_lag
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array

AXES = ("depth", "width", "height")
GESTURES: dict[str, tuple[Gesture, float]] = {"wave": (wave, 0.15), "reach": (reach, 0.12)}
"""Name -> gesture, and half of its length [m]."""
SETTLING_TIME = 5.0  # [s] at rest, in which the arm comes to the hand
FIRST_PERIOD = 4.0  # [s] of a gesture that is not measured
PLATEAU = 1.5  # [s] of rest after a reach


@dataclass(frozen=True)
class TeleopLagBenchmarkConfig(BenchmarkOptions):
    """Lag, overshoot and jitter of an arm that follows a gesture of 0.5 Hz."""

    arm: str = "ur5"
    """Name of an arm with a shipped checkpoint."""
    seconds: Annotated[float, Field(ge=10)] = 20.0
    """Duration of each gesture [s]."""
    rate: Annotated[float, Field(ge=5, le=120)] = 30.0
    """Images per second [Hz]."""
    age: Annotated[float, Field(ge=0, le=0.2)] = 0.03
    """Time from an image to its target, as of camera and pose network [s]; 0: lockstep."""
    noise: NonNegativeFloat = 1.0
    """Noise of the landmarks, as a multiple of that of MediaPipe."""
    seed: NonNegativeInt = 0
    """Seed of the noise."""


class FollowedGesture(NamedTuple):
    """Motion of the person's hand, scaled to the arm, and of the tool.

    Attributes:
        time: (T,) [s] since the start of the gesture.
        hand: (T, 3) true position of the hand in the base frame [m].
        tool: (T, 3) true position of the tool [m].
    """

    time: Array
    hand: Array
    tool: Array


def measure_teleop_lag(config: TeleopLagBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: an unknown arm, or one without a checkpoint.
    """
    measured = config.begin("teleop_lag", "ms, %, mm")
    rows = measured.rows
    for name, (gesture, size) in GESTURES.items():
        for axis, direction in zip(AXES, np.eye(3), strict=True):
            rows[f"{name} in {axis}"] = _row(name, follow(config, gesture, size * direction))
    still = follow(config, rest, np.zeros(3))
    jitter = (1e3 * still.tool.std(axis=0)).round(2).tolist()
    rows["rest"] = {f"jitter {AXES[i]} mm": jitter[i] for i in range(len(AXES))}
    return measured.report()


def follow(config: TeleopLagBenchmarkConfig, gesture: Gesture, motion: Array) -> FollowedGesture:
    """Let an arm follow a gesture.

    Args:
        config: settings.
        gesture: what the hand does.
        motion: (3,) from the middle of the gesture to its end, in the person's frame [m].
    """
    with DrivenArm(Setup(config.arm, config.arm), seed=config.seed) as arm:
        start = arm.time + SETTLING_TIME
        person = GesturingPerson(gesture, motion, config.noise, config.seed, start)
        retargeter = Retargeter(arm.robot, RetargetConfig())
        retargeter.reset(arm.robot.home)
        image_time, targets = arm.time, deque[Target]()
        while arm.time < start + config.seconds:
            while image_time <= arm.time + 1e-9:
                moved = retargeter(person(image_time), image_time)
                state = State(moved.q, moved.qd, np.zeros(arm.robot.n))
                targets.append(Target(image_time, state, moved.horizon))
                image_time += 1 / config.rate
            arrived = targets and targets[0].stamp + config.age <= arm.time + 1e-9
            arm.step(targets.popleft() if arrived else None)
        samples = [s for s in arm.samples if s.time >= start]
    time = np.array([s.time for s in samples])
    link = retargeter.links[-1]
    tool = [arm.robot.forward_kinematics(s.q, link)[:3, 3] for s in samples]
    hand = [retargeter.targets(person.directions(t))[0] for t in time]
    return FollowedGesture(time - start, np.array(hand), np.array(tool))


def _row(name: str, followed: FollowedGesture) -> Row:
    """Return lag and overshoot of a gesture."""
    time, hand, tool = followed
    axis = int(np.ptp(hand, axis=0).argmax())
    inside = (time > FIRST_PERIOD) & (time < time[-1] - 0.5)
    lag = find_lag(time[inside], hand[inside, axis, None], time, tool[:, axis, None])
    overshoot = (_gain if name == "wave" else _reach_overshoot)(time, hand[:, axis], tool[:, axis])
    row = {"lag ms": np.nan if lag is None else 1e3 * lag.seconds, "overshoot %": overshoot}
    return {key: round(float(value), 1) for key, value in row.items()}


def _gain(time: Array, hand: Array, tool: Array) -> float:
    """Return by how much the tool's sinusoid is larger than the hand's [%]."""
    inside = time > FIRST_PERIOD
    waves = np.exp(1j * np.pi * time[inside])
    basis = np.column_stack([waves.real, waves.imag, np.ones(len(waves))])
    sizes = [np.hypot(*np.linalg.lstsq(basis, x[inside], rcond=None)[0][:2]) for x in (hand, tool)]
    return float(100 * (sizes[1] / sizes[0] - 1))


def _reach_overshoot(time: Array, hand: Array, tool: Array) -> float:
    """Return how far the tool goes beyond its place at rest after a reach [%], on average."""
    beyond = []
    for begin in np.arange(PERIOD, time[-1] - PERIOD / 2 + 1e-6, PERIOD / 2):
        inside = (time >= begin) & (time < begin + PERIOD / 2)
        sign = np.sign(hand[inside][-1] - hand[inside][0])
        there = tool[inside & (time >= begin + PERIOD / 2 - PLATEAU / 2)].mean()
        beyond.append((sign * (tool[inside] - there)).max() / np.ptp(hand))
    return float(100 * np.mean(beyond))
