"""Motions of several kinds that the arm of the closed-loop benchmark follows.

Excitations are of the kind of the data; the others are what an arm is used for. Those of teleop
and grasp are recorded once, from the shipped model of the undisturbed arm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.interpolate import CubicSpline

from invdyn_ros.benchmarks.safety_rig import DrivenArm, Setup
from invdyn_ros.benchmarks.safety_runs import RandomPerson
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import excitation_motion, point_to_point_motion
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_agent import ScriptedAgent
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array

Seed = tuple[int, ...]
REST = 0.2  # [s] at the start, so that a motion starts at rest
RECORDED_RATE = 20.0  # [Hz] of the positions between which a motion is smooth


def teleop_motion(robot: Robot, seed: Seed, seconds: float) -> JointSamples:
    """Return the plan of an arm that follows a person whose arms move at random.

    Args:
        robot: an arm with a shipped checkpoint.
        seed: random seed.
        seconds: duration [s].
    """
    person = RandomPerson(np.random.default_rng(seed))
    with DrivenArm(Setup(robot.name, robot.name)) as arm:
        start, retargeter = arm.time, Retargeter(arm.robot)
        retargeter.reset(robot.home)
        while arm.time < start + seconds:
            moved = retargeter(person(arm.time), arm.time)
            state = State(moved.q, moved.qd, np.zeros(robot.n))
            arm.step(Target(arm.time, state, 0.0) if arm.camera_due else None)
        planned = [s for s in arm.samples if np.isfinite(s.reference).all()]
    time = np.array([s.time for s in planned]) - start
    return _smooth(time, np.stack([s.reference[: robot.n] for s in planned]), robot)


def grasp_motion(robot: Robot, seed: Seed, seconds: float) -> JointSamples:
    """Return the motion of an arm that grasps a block by the script.

    Args:
        robot: an arm with a scene and a shipped checkpoint.
        seed: random seed.
        seconds: longest duration [s].
    """
    with GraspEnv(arm=robot.name) as env:
        agent = ScriptedAgent(env)
        observation, info = env.reset(seed=int(np.random.default_rng(seed).integers(1 << 31)))
        agent.reset()
        samples: list[tuple[float, Array]] = []
        over = False
        while not over and (not samples or samples[-1][0] < samples[0][0] + seconds):
            physics = env.simulation.physics
            samples.append((physics.time, physics.state().q))
            observation, _, ended, cut, info = env.step(agent.act(observation, info))
            over = ended or cut
    time, q = zip(*samples, strict=True)
    return _smooth(np.array(time) - time[0], np.stack(q), robot)


def _smooth(time: Array, q: Array, robot: Robot) -> JointSamples:
    """Return positions (T, n) at times (T,) [s] as a motion from rest, at the rate of an arm."""
    every = max(1, round((len(time) - 1) / (time[-1] - time[0]) / RECORDED_RATE))
    knots = np.concatenate([[0.0], time[::every] - time[0] + REST])
    spline = CubicSpline(knots, np.concatenate([q[:1], q[::every]]), bc_type="clamped")
    at = np.arange(0, knots[-1], 1 / robot.rate)
    empty = np.empty((len(at), 0))
    return JointSamples(at, spline(at), spline(at, 1), empty, np.full(len(at), np.nan))


MotionKind = Literal["excitation", "point to point", "teleop", "grasp"]
KINDS: dict[MotionKind, Callable[[Robot, Seed, float], JointSamples]] = {
    "excitation": excitation_motion,
    "point to point": point_to_point_motion,
    "teleop": teleop_motion,
    "grasp": grasp_motion,
}
