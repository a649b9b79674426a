"""Observation vector of grasp policies, built from measured joints and block detections.

It uses only measurements that are available on the real arm; the simulated environment and the
live node use this same class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, BlockEstimate, relative_yaw
from invdyn_ros.grasp.estimation.grasp_offset_search import GraspOffsetFilter
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO, Scene
from invdyn_ros.typing import Array

DISTANCE_SCALE = 0.1  # [m] unit of distances in an observation
JOINT_ERROR_SCALE = 0.1  # [rad] unit of target minus measured joint positions
RECENT_DETECTION_AGE = 0.25  # [s] a younger detection sets the visibility entry to 1
MAX_DETECTION_AGE = 2.0  # [s] unit and upper bound of the age of the last detection
MAX_DETECTION_COUNT = 10  # unit and upper bound of the number of detections
OBSERVATION_LIMIT = 10.0  # bound of every entry
# range of gripper opening over block size with a grasped block, also by its diagonal
GRASPED_OPENING_RATIOS = 0.6, OPEN_WIDTH_RATIO
CLOSING_AXIS = 1  # axis of the tool along which the fingers close
PLAY_FRACTION = 0.9  # fraction of the play of the block between open fingers that is usable
MAX_PROBE_DISTANCE = 0.08  # [m] from the estimate; a grasp farther away does not update it
SETTLED_OPENING_CHANGE = 0.001  # [m] per observation; a gripper with less is at rest
# By unit of the commands: position servos follow their targets later.
BLOCKED_DEPTH = {
    "N m": 0.0025,
    "rad": 0.006,
}  # [m] of a target below a tool that stands on something
STOPPED_HEIGHT_CHANGE = {
    "N m": 0.0015,
    "rad": 0.001,
}  # [m] per observation; a tool with less is at rest
GRASP_RADIUS = 0.03  # [m] maximum distance from the tool to a grasped block


class ObservedState(NamedTuple):
    """What observations say of tool, block and goal.

    Attributes:
        tool: (L, 3) position of the tool [m].
        block: (L, 3) estimated position of the block [m]; that of the tool before it is detected.
        goal: (L, 3) goal of the block [m].
        yaw_error: (L,) yaw from the fingers to the nearest side of the block [rad].
        is_detected: (L,) whether the block was ever detected.
    """

    tool: Array
    block: Array
    goal: Array
    yaw_error: Array
    is_detected: NDArray[np.bool_]

    @classmethod
    def from_observations(
        cls, observations: NDArray[np.float32], num_joints: int, action_size: int
    ) -> ObservedState:
        """Invert the last entries of observations.

        Args:
            observations: (L, o).
            num_joints: joints of the arm.
            action_size: size of its actions.
        """
        *_, rest = np.split(np.asarray(observations, float), [3 * num_joints + action_size + 1], 1)
        tool, goal, block = (DISTANCE_SCALE * rest[:, k : k + 3] for k in (0, 6, 9))
        cosine, sine, _, count = rest[:, 15:].T
        return cls(tool, tool + block, tool + goal, np.arctan2(sine, cosine) / 4, count > 0)


class ObservationBuilder:
    """Build the observations of an episode one after the other.

    While a block is grasped, its position is that of the tool, because the gripper hides it from
    the camera.

    Attributes:
        estimate: position and yaw of the block, from all detections since it moved.
        offset_filter: horizontal offset of the block from the estimate, inferred from failed
            grasps.
        grasped: whether the gripper seems to hold the block.
        previous_action: (a,) the last action.
    """

    def __init__(self, robot: Robot, scene: Scene, action_size: int) -> None:
        """Create a builder.

        Args:
            robot: an arm with a gripper.
            scene: nominal scene: size of the block, goal.
            action_size: size of an action.

        Raises:
            ValueError: the arm has no gripper.
        """
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper, which grasping needs")
        self.robot, self.scene, self.max_opening = robot, scene, robot.gripper.max_opening
        self.goal = np.array(scene.goal)
        self.action_size = action_size
        play = (self.max_opening - scene.block_size) / 2 * PLAY_FRACTION
        self.offset_filter = GraspOffsetFilter(play, scene.block_size / 2, scene.block_size / 2)
        self.reset()

    def reset(self) -> None:
        """Start an episode: clear the estimate of the block and the last action."""
        self.estimate = BlockEstimate()
        self.offset_filter.reset()
        self._in_failed_grasp, self._height, self._last_opening = False, np.inf, np.inf
        self.grasped = False
        self.previous_action = np.zeros(self.action_size)
        self._last_sample: tuple[float, Array] | None = None

    @property
    def size(self) -> int:
        """Size of an observation with the block."""
        return self.proprioception_size + 10

    @property
    def proprioception_size(self) -> int:
        """Size of an observation without the block."""
        return 3 * self.robot.n + self.action_size + 10

    def on_detection(self, detection: BlockDetection) -> None:
        """Process a detection of the block, which is ignored while the block is grasped."""
        if not self.grasped:
            self.estimate.update(detection)

    def proprioception(
        self, time: float, q: Array, qd: Array, opening: float, target: State
    ) -> NDArray[np.float32]:
        """Return the observation without the block (proprioception_size,).

        Args:
            time: present time [s].
            q: (n,) measured joint positions [rad].
            qd: (n,) measured joint velocities [rad/s]; empty if the arm does not measure them.
            opening: measured distance between the finger pads [m].
            target: target of the last action.
        """
        if not qd.size:
            qd = self._finite_difference(time, q)
        self._last_sample, self.opening = (time, q), opening
        self.tool_pose = T = self.robot.forward_kinematics(q)
        self._update_grasped(opening)
        self._update_offset_filter(target, opening)
        parts = (
            q,
            qd,
            (target.q - q) / JOINT_ERROR_SCALE,
            self.previous_action,
            [opening / self.max_opening],
            T[:3, 3] / DISTANCE_SCALE,
            T[:3, 2],
            (self.goal - T[:3, 3]) / DISTANCE_SCALE,
        )
        limit = OBSERVATION_LIMIT
        return np.concatenate(parts).clip(-limit, limit).astype(np.float32)

    def block_features(self, time: float) -> NDArray[np.float32]:
        """Return the block's part of the observation (10,), after `proprioception`."""
        estimate, state = self.estimate, self.estimated_state()
        age = min(time - estimate.time, MAX_DETECTION_AGE)
        entries = np.array(
            [
                *(_block_entries(state, self.goal) if state is not None else np.zeros(8)),
                float(age < RECENT_DETECTION_AGE) - age / MAX_DETECTION_AGE,
                min(estimate.count, MAX_DETECTION_COUNT) / MAX_DETECTION_COUNT,
            ]
        )
        return entries.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)

    def replace_block(
        self, observation: NDArray[np.float32], state: PrivilegedState, goal: Array
    ) -> NDArray[np.float32]:
        """Return an observation (size,) with another block, gripper opening and goal.

        Args:
            observation: (size,) an observation with a block.
            state: the tool of the observation, and the other block and opening.
            goal: (3,) the other goal [m].
        """
        observation, opening = observation.copy(), 3 * self.robot.n + self.action_size
        to_goal = (goal - state.tool_pose[:3, 3]) / DISTANCE_SCALE
        observation[opening] = state.opening / self.max_opening
        observation[opening + 7 : opening + 10] = to_goal
        observation[opening + 10 : opening + 18] = _block_entries(state, goal)
        return observation.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)

    def estimated_state(self) -> PrivilegedState | None:
        """Return the estimated state of tool and block; None before the first detection."""
        if not self.estimate.count:
            return None
        yaw_error = relative_yaw(self.tool_pose, self.estimate.yaw)
        return PrivilegedState(
            self.tool_pose, self._block_position, yaw_error, self.grasped, self.opening
        )

    @property
    def _block_position(self) -> Array:
        """Estimated position of the block (3,) [m]."""
        if self.grasped:
            return np.asarray(self.tool_pose[:3, 3])
        return self.estimate.position + np.array([*self.offset_filter.offset, 0.0])

    def _update_offset_filter(self, target: State, opening: float) -> None:
        """Update the filter when the gripper closes on nothing or stops on top of the block."""
        tool, size, last_height = self.tool_pose, self.scene.block_size, self._height
        self._height = float(tool[2, 3])
        offset = tool[:2, 3] - self.estimate.position[:2]
        near = self._height < 2 * size and float(np.linalg.norm(offset)) < MAX_PROBE_DISTANCE
        if self.grasped or not (near and self.estimate.count):
            self._in_failed_grasp = False
            return
        closing = self.previous_action[-1] < 0
        empty = closing and opening < GRASPED_OPENING_RATIOS[0] * size
        target_height = self.robot.forward_kinematics(target.q)[2, 3]
        blocked = target_height < tool[2, 3] - BLOCKED_DEPTH[self.robot.action_unit]
        largest = STOPPED_HEIGHT_CHANGE[self.robot.action_unit]
        at_rest = abs(self._height - last_height) < largest
        on_block = not closing and blocked and at_rest
        if (empty or on_block) and not self._in_failed_grasp:
            self.offset_filter.update_missed(offset, self._closing_direction)
        self._in_failed_grasp = empty or on_block

    @property
    def _closing_direction(self) -> Array:
        """Horizontal direction in which the fingers close (2,)."""
        axis = self.tool_pose[:2, CLOSING_AXIS]
        return np.asarray(axis / max(float(np.linalg.norm(axis)), 1e-9))

    def _finite_difference(self, time: float, q: Array) -> Array:
        """Return the velocity (n,) [rad/s] of an arm that does not measure it."""
        if self._last_sample is None or time <= self._last_sample[0]:
            return np.zeros_like(q)
        return np.asarray((q - self._last_sample[1]) / (time - self._last_sample[0]))

    def _update_grasped(self, opening: float) -> None:
        """Detect from the gripper opening whether the block is grasped.

        A block that is released stays at the position of the tool until it is detected again.
        """
        low, high = (ratio * self.scene.block_size for ratio in GRASPED_OPENING_RATIOS)
        settled = abs(opening - self._last_opening) < SETTLED_OPENING_CHANGE
        self._last_opening = opening
        closing = self.previous_action[-1] < 0
        closed = low < opening < high and closing and (self.grasped or settled)
        position, near = self.tool_pose[:3, 3], self.grasped
        if not self.grasped and self.estimate.count:
            near = bool(np.linalg.norm(self._block_position - position) < GRASP_RADIUS)
        if self.grasped and not closed:
            self.estimate.set_position(position - np.array([*self.offset_filter.offset, 0.0]))
        if closed and near and not self.grasped:
            offset = position[:2] - self.estimate.position[:2]
            self.offset_filter.update_grasped(offset, self._closing_direction)
        self.grasped = closed and near


def _block_entries(state: PrivilegedState, goal: Array) -> Array:
    """Return the entries (8,) of the place of a block: from the tool, to the goal, and yaw."""
    position, yaw = state.block_position, 4 * state.yaw_error
    to_block = (position - state.tool_pose[:3, 3]) / DISTANCE_SCALE
    return np.array([*to_block, *(goal - position) / DISTANCE_SCALE, np.cos(yaw), np.sin(yaw)])
