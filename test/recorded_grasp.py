"""Grasps in the environment, recorded as the nodes of the graph would have said them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from invdyn_ros.control.safety_limits import Target
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_agent import ScriptedAgent
from invdyn_ros.grasp.envs.simulated_detector import SimulatedDetector
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import (
    block_to_message,
    command_to_message,
    poses_to_message,
    target_to_message,
    to_stamp,
)

TYPES = get_typestore(Stores.ROS2_JAZZY)


class Spoken(NamedTuple):
    """One message as it is logged."""

    topic: str
    kind: Any
    raw: bytes


def spoken(topic: str, message: Any) -> Spoken:
    """A message as it comes over the wire, which drops what rclpy adds behind it."""
    kind, raw = type(message), serialize_message(message)
    known = TYPES.get_msgdef(f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}")
    _, length = known.deserialize_cdr_le(raw[4:], 0, known.cls, TYPES)
    return Spoken(topic, kind, raw[: 4 + length])


class Witness:
    """Notes what the graph would publish while an environment runs."""

    def __init__(self, environment: GraspEnv, monkeypatch) -> None:
        self.env, self.said, self.seen = environment, [], []
        step, detect = environment.simulation.step, SimulatedDetector.detect

        def noting_step(command, opening):
            self._note(opening)
            return step(command, opening)

        def noting_detect(detector, *arguments):
            found = detect(detector, *arguments)
            if found is not None:
                self.seen.append((environment.simulation.physics.time, found))
            return found

        monkeypatch.setattr(environment.simulation, "step", noting_step)
        monkeypatch.setattr(SimulatedDetector, "detect", noting_detect)

    def episode(self, seconds: float) -> Transitions:
        """Let the script act, at most so long; return what the environment told."""
        env, self.seen = self.env, []
        observation, info = env.reset()
        script, rows, over = ScriptedAgent(env), [], False
        while not over and info["time"] < seconds - 1e-6:
            action = script.act(observation, info)
            after, reward, placed, late, info = env.step(action)
            rows.append((observation, after, action, reward, float(placed)))
            observation, over = after, placed or late
        return Transitions.from_rows(rows)

    def _note(self, opening: float) -> None:
        env, simulation = self.env, self.env.simulation.physics
        _, q, qd, effort, measured = simulation.state()
        now, stamp = simulation.time, round(simulation.ticks * 1e9 / env.robot.rate)
        header, period = to_stamp(stamp), env.config.action_space.action_period
        if env.simulation.camera_due:
            poses = poses_to_message([simulation.block_pose()], header, env.robot.base_link)
            self._say("/sim/objects", poses)
        self._say("/joint_states", joints_to_message(env.robot, header, q, measured, qd, effort))
        while self.seen and self.seen[0][0] + env.camera._delay.latency <= now + 1e-9:
            time, (T, covariance) = self.seen.pop(0)
            quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
            taken = Header(stamp=to_stamp(round(time * 1e9)))
            block = block_to_message(T[:3, 3], quaternion, covariance, taken)
            self._say("/blocks/block_0", block)
        self._say("/gripper/command", command_to_message(np.array([opening]), stamp))
        began = np.floor(now / period + 1e-6) * period
        target = Target(now, env.robot_action_space.target, began + period - now)
        names = env.robot.joint_names
        self._say("/joint_target", target_to_message(target, names, header))

    def _say(self, topic: str, message: Any) -> None:
        self.said.append(spoken(topic, message))


def act(arm: str, *seconds: float, seed: int = 4) -> tuple[list[Spoken], list[Transitions]]:
    """Let the script act in one episode per time [s]; return what was said, and what told."""
    with pytest.MonkeyPatch.context() as patch, closing(GraspEnv(arm=arm)) as environment:
        witness = Witness(environment, patch)
        environment.reset(seed=seed)
        told = [witness.episode(time) for time in seconds]
    return witness.said, told


def write(folder: Path, said: Sequence[Spoken], without: tuple[str, ...] = ()) -> Path:
    """Write a recording of all topics but some, its messages a tenth of a millisecond apart."""
    bag = BagWriter(folder)
    for k, one in enumerate(said):
        if one.topic not in without:
            bag.write(one.topic, one.kind, 10**18 + k * 10**5, one.raw)
    bag.close()
    return folder
