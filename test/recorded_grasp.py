"""Grasps in the environment, recorded as messages of the live graph."""

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

from invdyn_ros.control.motion_profile import Target
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
from invdyn_ros.nodes.robot_names import RobotNames

TYPES = get_typestore(Stores.ROS2_JAZZY)


class LoggedMessage(NamedTuple):
    """One serialized message with its topic and type."""

    topic: str
    message_type: Any
    data: bytes


def logged_message(topic: str, message: Any) -> LoggedMessage:
    """Serialize a message as on the wire, without the padding that rclpy appends."""
    message_type, data = type(message), serialize_message(message)
    package = message_type.__module__.split(".")[0]
    definition = TYPES.get_msgdef(f"{package}/msg/{message_type.__name__}")
    _, length = definition.deserialize_cdr_le(data[4:], 0, definition.cls, TYPES)
    return LoggedMessage(topic, message_type, data[: 4 + length])


class EnvironmentRecorder:
    """Recorder of the messages that the graph would publish while an environment runs."""

    def __init__(self, environment: GraspEnv, monkeypatch) -> None:
        self.env = environment
        self.messages: list[LoggedMessage] = []
        self.pending_detections: list[tuple[float, Any]] = []
        step, detect = environment.simulation.step, SimulatedDetector.detect

        def recording_step(command, opening):
            self._record(opening)
            return step(command, opening)

        def recording_detect(detector, *args):
            detection = detect(detector, *args)
            if detection is not None:
                time = environment.simulation.physics.time
                self.pending_detections.append((time, detection))
            return detection

        monkeypatch.setattr(environment.simulation, "step", recording_step)
        monkeypatch.setattr(SimulatedDetector, "detect", recording_detect)

    def run_episode(self, max_seconds: float) -> Transitions:
        """Run the scripted agent for at most max_seconds [s]; return the transitions."""
        env, self.pending_detections = self.env, []
        observation, info = env.reset()
        agent, rows, done = ScriptedAgent(env), [], False
        while not done and info["time"] < max_seconds - 1e-6:
            action = agent.act(observation, info)
            next_observation, reward, terminated, truncated, info = env.step(action)
            rows.append((observation, next_observation, action, reward, float(terminated)))
            observation, done = next_observation, terminated or truncated
        return Transitions.from_rows(rows)

    def _record(self, opening: float) -> None:
        env, simulation = self.env, self.env.simulation.physics
        _, q, qd, effort, measured_opening = simulation.state()
        now, stamp = simulation.time, round(simulation.ticks * 1e9 / env.robot.rate)
        header, period = to_stamp(stamp), env.config.action_space.action_period
        if env.simulation.camera_due:
            poses = poses_to_message([simulation.block_pose()], header, env.robot.base_link)
            self._log("/sim/objects", poses)
        names = RobotNames.of(env.robot)
        joints = joints_to_message(names, header, q, measured_opening, qd, effort)
        self._log("/joint_states", joints)
        latency = env.camera._delay.latency
        while self.pending_detections and self.pending_detections[0][0] + latency <= now + 1e-9:
            time, (T, covariance) = self.pending_detections.pop(0)
            quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
            image_header = Header(stamp=to_stamp(round(time * 1e9)))
            block = block_to_message(T[:3, 3], quaternion, covariance, image_header)
            self._log("/blocks/block_0", block)
        self._log("/gripper/command", command_to_message(np.array([opening]), stamp))
        start = np.floor(now / period + 1e-6) * period
        target = Target(now, env.robot_action_space.target, start + period - now)
        self._log("/joint_target", target_to_message(target, names, header))

    def _log(self, topic: str, message: Any) -> None:
        self.messages.append(logged_message(topic, message))


def record_episodes(
    arm: str, *max_seconds: float, seed: int = 4
) -> tuple[list[LoggedMessage], list[Transitions]]:
    """Run one episode per duration [s]; return all messages, and the transitions of each."""
    with pytest.MonkeyPatch.context() as patch, closing(GraspEnv(arm=arm)) as environment:
        recorder = EnvironmentRecorder(environment, patch)
        environment.reset(seed=seed)
        episodes = [recorder.run_episode(seconds) for seconds in max_seconds]
    return recorder.messages, episodes


def write_bag(
    folder: Path,
    messages: Sequence[LoggedMessage],
    without: tuple[str, ...] = (),
    namespace: str = "",
) -> Path:
    """Write a recording without some topics, its messages a tenth of a millisecond apart."""
    bag = BagWriter(folder)
    for k, message in enumerate(messages):
        if message.topic not in without:
            topic, time = namespace + message.topic, 10**18 + k * 10**5
            bag.write(topic, message.message_type, time, message.data)
    bag.close()
    return folder
