"""Conversion of recorded grasps to transitions of the environment.

Observation, action space and reward are those of the environment. Recordings of the live graph are
therefore demonstrations for a learner, whether a person, a script or a policy moved the arm.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.control.motion_profile import State
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.grasp.envs.grasp_simulation import SETTLE_TIME
from invdyn_ros.grasp.envs.reward import RewardConfig, ShapedReward
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.learned import STAMP_TOLERANCE
from invdyn_ros.grasp.policies.observation import (
    GRASP_RADIUS,
    GRASPED_OPENING_RATIOS,
    ObservationBuilder,
)
from invdyn_ros.grasp.policies.success import PrivilegedState, SuccessDetector
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, quaternion_pose
from invdyn_ros.typing import Array


class DesiredTrajectory(NamedTuple):
    """Desired joint states that were sent to the arm.

    Attributes:
        time: (K,) increasing stamps [s].
        q: (K, n) joint positions [rad].
        qd: (K, n) joint velocities [rad/s].
    """

    time: Array
    q: Array
    qd: Array

    def interpolate(self, time: float) -> State:
        """Return the desired state at a time [s], by linear interpolation."""
        q, qd = (
            np.array([np.interp(time, self.time, column) for column in part.T])
            for part in (self.q, self.qd)
        )
        return State(q, qd, np.zeros_like(q))


class RecordedGrasp(NamedTuple):
    """Recording of one episode.

    Attributes:
        start_time: time of the first desired state [s].
        joints: joint states measured by the arm.
        desired: desired joint states sent to the arm.
        gripper_commands: (G, 2) time [s] and desired opening [m].
        detections: arrival time [s] and detection of the block, in order of arrival.
        block_poses: (B, 8) time [s], true position [m] and quaternion xyzw of the block; B = 0 if
            unknown.
    """

    start_time: float
    joints: JointSamples
    desired: DesiredTrajectory
    gripper_commands: Array
    detections: list[tuple[float, BlockDetection]]
    block_poses: Array


class ReplayedEpisode(NamedTuple):
    """Transitions of one episode.

    Attributes:
        time: (N,) start of each step [s].
        transitions: N transitions; the last one is done if the block was placed.
        estimated_reward: whether the rewards use the estimated block pose, because the true one
            is unknown.
    """

    time: Array
    transitions: Transitions
    estimated_reward: bool

    @property
    def placed(self) -> bool:
        """Whether the block was placed at its goal."""
        return bool(self.transitions.dones.any())


class EpisodeReplayer:
    """Convert recorded episodes to transitions, one per action period."""

    def __init__(
        self, robot: Robot, scene: Scene, control_mode: str, config: ActionSpaceConfig
    ) -> None:
        """Create a replayer with the environment's observation and action spaces.

        Args:
            robot: the recorded arm.
            scene: nominal scene of the recording.
            control_mode: joint or cartesian.
            config: time step and scale of actions.

        Raises:
            ValueError: the arm has no gripper, or control mode or action period are invalid.
        """
        self.robot, self.scene = robot, scene
        self.action_space = make_action_space(control_mode, robot, config)
        self.observations = ObservationBuilder(robot, scene, self.action_space.size)

    def __call__(self, grasp: RecordedGrasp) -> ReplayedEpisode:
        """Convert one episode.

        Raises:
            ValueError: the recording is shorter than one action, or lacks joint states.
        """
        indices = self._action_indices(grasp)
        self._reset(grasp, indices[0])
        rows, observation = [], self._observe(indices[0])
        for i, next_i in pairwise(indices):
            action = self._action(i)
            next_observation = self._observe(next_i)
            reward = self._reward(i, next_i)
            is_over = self._is_over(next_i)
            rows.append((observation, next_observation, action, reward, 0.0))
            observation = next_observation
            if is_over:
                break
        if self.success_detector is not None and self.success_detector.placed:
            rows[-1] = (*rows[-1][:4], 1.0)
        time = grasp.joints.time[indices[: len(rows)]]
        return ReplayedEpisode(time, Transitions.from_rows(rows), not len(grasp.block_poses))

    def _action_indices(self, grasp: RecordedGrasp) -> list[int]:
        """Return the indices of the joint samples at which actions start, and of the end."""
        time, period = grasp.joints.time, self.action_space.config.action_period
        starts = np.arange(grasp.start_time, time[-1] + STAMP_TOLERANCE, period)
        indices = np.searchsorted(time, starts - STAMP_TOLERANCE)
        if len(starts) < 2:
            raise ValueError("shorter than one action")
        if (time[indices] - starts > period / 2).any():
            raise ValueError("without joint states for longer than an action")
        return [int(i) for i in indices]

    def _reset(self, grasp: RecordedGrasp, i: int) -> None:
        self.grasp, self.pending_detections = grasp, list(grasp.detections)
        self.observations.reset()
        self.action_space.reset(grasp.joints.q[i])
        self.success_detector: SuccessDetector | None = None
        self.reward: ShapedReward | None = None
        self.placed_time: float | None = None

    def _observe(self, i: int) -> NDArray[np.float32]:
        """Return the observation (o,) at a joint sample."""
        joints = self.grasp.joints
        now = float(joints.time[i])
        while self.pending_detections and self.pending_detections[0][0] <= now + STAMP_TOLERANCE:
            self.observations.on_detection(self.pending_detections.pop(0)[1])
        measured = joints.q[i], joints.qd[i], float(joints.opening[i])
        proprioception = self.observations.proprioception(now, *measured, self.action_space.target)
        if self.reward is None:
            self._start_reward(i)
        return np.concatenate([proprioception, self.observations.block_features(now)])

    def _action(self, i: int) -> NDArray[np.float32]:
        """Apply the action (a,) that best reproduces the desired state, and return it."""
        now = self.grasp.joints.time[i]
        state = self.grasp.desired.interpolate(now + self.action_space.config.action_period)
        commands = self.grasp.gripper_commands
        sent = commands[commands[:, 0] <= now + STAMP_TOLERANCE]
        opening = float(sent[-1, 1]) if len(sent) else self.action_space.max_opening
        action = self.action_space.target_to_action(state, opening).astype(np.float32)
        self.observations.previous_action = action.astype(float)
        self.action_space(self.observations.previous_action, self.grasp.joints.q[i])
        return action

    def _start_reward(self, i: int) -> None:
        """Create reward and success detector if the pose of the block is known."""
        state = self._privileged_state(i)
        if state is not None:
            self.success_detector = SuccessDetector.from_scene(self.scene, state.block_position)
            self.reward = ShapedReward(RewardConfig(), self.success_detector, state)

    def _reward(self, i: int, next_i: int) -> float:
        """Return the reward of a step between two joint samples; 0 until a block is detected."""
        state, joints = self._privileged_state(next_i), self.grasp.joints
        if self.success_detector is None or self.reward is None or state is None:
            return 0.0
        for k, position in self._block_positions(i, next_i, state):
            self.success_detector.update(position, joints.velocity(k), float(joints.opening[k]))
            if self.success_detector.placed and self.placed_time is None:
                self.placed_time = float(joints.time[k])
        return self.reward(state, self.success_detector, self.observations.previous_action)

    def _block_positions(
        self, i: int, next_i: int, state: PrivilegedState
    ) -> list[tuple[int, Array]]:
        """Return indices of joint samples after `i` up to `next_i`, with block positions (3,)."""
        time, blocks = self.grasp.joints.time, self.grasp.block_poses
        if not len(blocks):
            return [(next_i, state.block_position)]
        stamps = blocks[:, 0] - STAMP_TOLERANCE
        new = blocks[(stamps > time[i]) & (stamps <= time[next_i])]
        return [(int(np.searchsorted(time, row[0] - STAMP_TOLERANCE)), row[1:4]) for row in new]

    def _is_over(self, i: int) -> bool:
        """Return whether the episode has ended, as in the environment."""
        now = float(self.grasp.joints.time[i])
        return self.placed_time is not None and now > self.placed_time + SETTLE_TIME

    def _privileged_state(self, i: int) -> PrivilegedState | None:
        """Return the true state; the estimated one if the block's true pose is unknown."""
        joints, blocks = self.grasp.joints, self.grasp.block_poses
        T_base_tool = self.observations.tool_pose
        if not len(blocks):
            return self.observations.estimated_state()
        now, opening = joints.time[i], float(joints.opening[i])
        block = np.array([np.interp(now, blocks[:, 0], column) for column in blocks[:, 1:4].T])
        latest = blocks[max(int(np.searchsorted(blocks[:, 0], now + STAMP_TOLERANCE)) - 1, 0)]
        T_base_block = quaternion_pose(block, latest[4:])
        low, high = (fraction * self.scene.block_size for fraction in GRASPED_OPENING_RATIOS)
        near = bool(np.linalg.norm(block - T_base_tool[:3, 3]) < GRASP_RADIUS)
        grasped = near and low < opening < high and self.observations.previous_action[-1] < 0
        return PrivilegedState.from_poses(T_base_tool, T_base_block, grasped, opening)
