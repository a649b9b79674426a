"""A recorded grasp enters; what a learner would have seen, done and been paid leaves.

The recording passes through the observer, steering and reward of the environment, so a person, a
script or a policy that drove the graph shows a learner its own task.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.control.safety_limits import State
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.grasp.envs.episode import AFTERWARDS
from invdyn_ros.grasp.envs.reward import RewardConfig, ShapedReward
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, relative_yaw, upright_yaw
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig, make_action_space
from invdyn_ros.grasp.policies.learned import EARLY
from invdyn_ros.grasp.policies.observation import GRASP_RADIUS, GRASPED_OPENING, ObservationBuilder
from invdyn_ros.grasp.policies.success import PrivilegedState, SuccessDetector
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, quaternion_pose
from invdyn_ros.typing import Array


class DesiredTrajectory(NamedTuple):
    """Where the arm was wanted.

    Attributes:
        time: (K,) when, increasing [s].
        q: (K, n) [rad].
        qd: (K, n) [rad/s].
    """

    time: Array
    q: Array
    qd: Array

    def interpolate(self, time: float) -> State:
        """Return the state that was wanted at a time [s], between those that were told."""
        q, qd = (
            np.array([np.interp(time, self.time, column) for column in part.T])
            for part in (self.q, self.qd)
        )
        return State(q, qd, np.zeros_like(q))


class RecordedGrasp(NamedTuple):
    """What was recorded of one episode.

    Attributes:
        began: when the first wanted state was told [s].
        joints: what the arm measured.
        wanted: where it was wanted.
        grips: (G, 2) time [s] and wanted opening [m].
        sightings: when each was known [s], in that order, and what it said.
        blocks: (B, 8) time [s], true position [m], quaternion xyzw; B = 0 where nobody knows it.
    """

    start_time: float
    joints: JointSamples
    desired: DesiredTrajectory
    gripper_commands: Array
    detections: list[tuple[float, BlockDetection]]
    block_poses: Array


class ReplayedEpisode(NamedTuple):
    """What an episode shows.

    Attributes:
        time: (N,) when each step began [s].
        transitions: N of them; the last one is done where the block was placed.
        believed: nobody recorded where the block really was: the reward is for what was seen.
    """

    time: Array
    transitions: Transitions
    estimated_reward: bool

    @property
    def placed(self) -> bool:
        """Whether the block was put at its goal."""
        return bool(self.transitions.dones.any())


class EpisodeReplayer:
    """Turns recorded episodes into transitions, one action per period of the steering."""

    def __init__(
        self, robot: Robot, scene: Scene, control: str, config: ActionSpaceConfig
    ) -> None:
        """Make a replay.

        Args:
            robot: the arm that was recorded.
            scene: as it was described to the graph.
            control: what actions mean: joint or cartesian.
            config: how far one action goes.

        Raises:
            ValueError: an arm without a gripper, or a control or period that does not exist.
        """
        self.robot, self.scene = robot, scene
        self.steering = make_action_space(control, robot, config)
        self.observer = ObservationBuilder(robot, scene, self.steering.size)

    def __call__(self, grasp: RecordedGrasp) -> ReplayedEpisode:
        """Return what an episode shows.

        Raises:
            ValueError: it is shorter than one action, or joint states are missing in it.
        """
        at = self._steps(grasp)
        self._begin(grasp, at[0])
        rows, seen = [], self._observe(at[0])
        for i, after in pairwise(at):
            action = self._act(i)
            following = self._observe(after)
            reward = self._reward(i, after)
            over = self._over(after)
            rows.append((seen, following, action, reward, 0.0))
            seen = following
            if over:
                break
        if self.judge is not None and self.judge.placed:
            rows[-1] = (*rows[-1][:4], 1.0)
        columns = Transitions.from_rows(rows)
        return ReplayedEpisode(
            grasp.joints.time[at[: len(rows)]], columns, not len(grasp.block_poses)
        )

    def _steps(self, grasp: RecordedGrasp) -> list[int]:
        """Return the joint samples at which actions begin and, at last, end."""
        time, period = grasp.joints.time, self.steering.config.action_period
        due = np.arange(grasp.start_time, time[-1] + EARLY, period)
        at = np.searchsorted(time, due - EARLY)
        if len(due) < 2:
            raise ValueError("shorter than one action")
        if (time[at] - due > period / 2).any():
            raise ValueError("without joint states for longer than an action")
        return [int(i) for i in at]

    def _begin(self, grasp: RecordedGrasp, i: int) -> None:
        self.grasp, self.waiting = grasp, list(grasp.detections)
        self.observer.reset()
        self.steering.reset(grasp.joints.q[i])
        self.judge: SuccessDetector | None = None
        self.reward: ShapedReward | None = None
        self.placed_at: float | None = None

    def _observe(self, i: int) -> NDArray[np.float32]:
        """Return what was known at a joint sample, (o,)."""
        joints = self.grasp.joints
        now = float(joints.time[i])
        while self.waiting and self.waiting[0][0] <= now + EARLY:
            self.observer.on_detection(self.waiting.pop(0)[1])
        known = joints.q[i], joints.qd[i], float(joints.opening[i])
        seen = self.observer.proprioception(now, *known, self.steering.target)
        if self.reward is None:
            self._first_truth(i)
        return np.concatenate([seen, self.observer.block_features(now)])

    def _act(self, i: int) -> NDArray[np.float32]:
        """Return the action (a,) that wants what was wanted, and take it."""
        now = self.grasp.joints.time[i]
        state = self.grasp.desired.interpolate(now + self.steering.config.action_period)
        told = self.grasp.gripper_commands[self.grasp.gripper_commands[:, 0] <= now + EARLY]
        opening = float(told[-1, 1]) if len(told) else self.steering.max_opening
        action = self.steering.target_to_action(state, opening).astype(np.float32)
        self.observer.previous_action = action.astype(float)
        self.steering(self.observer.previous_action, self.grasp.joints.q[i])
        return action

    def _first_truth(self, i: int) -> None:
        """Begin to judge and to pay when it is first known where the block is."""
        truth = self._truth(i)
        if truth is not None:
            self.judge = SuccessDetector.from_scene(self.scene, truth.block_position)
            self.reward = ShapedReward(RewardConfig(), self.judge, truth)

    def _reward(self, i: int, after: int) -> float:
        """Return the reward of the action between two joint samples; nothing before a block."""
        truth, joints = self._truth(after), self.grasp.joints
        if self.judge is None or self.reward is None or truth is None:
            return 0.0
        for k, block in self._blocks(i, after, truth):
            self.judge.update(block, joints.velocity(k), float(joints.opening[k]))
            if self.judge.placed and self.placed_at is None:
                self.placed_at = float(joints.time[k])
        return self.reward(truth, self.judge, self.observer.previous_action)

    def _blocks(self, i: int, after: int, truth: PrivilegedState) -> list[tuple[int, Array]]:
        """Return the places (3,) of the block after one joint sample and up to another."""
        time, blocks = self.grasp.joints.time, self.grasp.block_poses
        if not len(blocks):
            return [(after, truth.block_position)]
        stamps = blocks[:, 0] - EARLY
        new = blocks[(stamps > time[i]) & (stamps <= time[after])]
        return [(int(np.searchsorted(time, row[0] - EARLY)), row[1:4]) for row in new]

    def _over(self, i: int) -> bool:
        """Say whether the episode has ended, as in the environment."""
        now = float(self.grasp.joints.time[i])
        return self.placed_at is not None and now > self.placed_at + AFTERWARDS

    def _truth(self, i: int) -> PrivilegedState | None:
        """Return the true state; where nobody recorded it, what the observer believes."""
        joints, blocks, tool = self.grasp.joints, self.grasp.block_poses, self.observer.tool_pose
        if not len(blocks):
            return self.observer.estimated_state()
        now, opening = joints.time[i], float(joints.opening[i])
        block = np.array([np.interp(now, blocks[:, 0], column) for column in blocks[:, 1:4].T])
        newest = blocks[max(int(np.searchsorted(blocks[:, 0], now + EARLY)) - 1, 0)]
        turn = relative_yaw(tool, upright_yaw(quaternion_pose(newest[1:4], newest[4:])[:3, :3]))
        low, high = (share * self.scene.block_size for share in GRASPED_OPENING)
        near = bool(np.linalg.norm(block - tool[:3, 3]) < GRASP_RADIUS)
        held = near and low < opening < high and self.observer.previous_action[-1] < 0
        return PrivilegedState(tool, block, turn, held, opening)
