"""What a policy sees: measured joints and sightings of the block enter, one vector leaves.

Nothing enters that the live graph lacks, so environment and graph run this same class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.control.safety_limits import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, BlockEstimate, relative_yaw
from invdyn_ros.grasp.estimation.grasp_offset_search import GraspOffsetFilter
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

DISTANCE_SCALE = 0.1  # [m] unit of distances in an observation
JOINT_ERROR_SCALE = 0.1  # [rad] unit of what is wanted less what is measured
FRESH = 0.25  # [s] a sighting younger than this says that the block is in sight
OLD = 2.0  # [s] the age of a sighting is told up to this
MANY = 10  # sightings are counted up to this
OBSERVATION_LIMIT = 10.0  # of any entry
GRASPED_OPENING = (0.6, 1.2)  # opening over the block's size while it is between the pads
CLOSING = 1  # axis of the tool along which the fingers close
SPARE = 0.9  # share of the play between open fingers and block with which a grip succeeds
MAX_PROBE_DISTANCE = (
    0.08  # [m] further from where the block is seen, a closed gripper tells nothing of it
)
SETTLED = 0.001  # [m] per observation: the gripper has come to rest
PRESSED = 0.006  # [m] a tool that cannot come this much further down stands on something
CREEP = 0.001  # [m] per observation: it has stopped
GRASP_RADIUS = 0.03  # [m] from the tool to a block that the gripper has closed on


class ObservationBuilder:
    """Puts together what is known at one instant.

    A block between the pads is where the tool is: the camera sees it badly or not at all.

    Attributes:
        estimate: where the block lies, from all sightings since it moved.
        search: how far from there it rather is, by grips that missed it.
        held: the gripper seems to hold the block.
    """

    def __init__(self, robot: Robot, scene: Scene, action_size: int) -> None:
        """Make an observer.

        Args:
            robot: the arm.
            scene: as it is described: size of the block, goal.
            actions: size of an action.
        """
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper; grasping needs one")
        self.robot, self.scene, self.max_opening = robot, scene, robot.gripper.max_opening
        self.goal = np.array(scene.goal)
        self.action_size = action_size
        spare = (self.max_opening - scene.block_size) / 2 * SPARE
        self.offset_filter = GraspOffsetFilter(spare, scene.block_size / 2, scene.block_size / 2)
        self.reset()

    def reset(self) -> None:
        """Forget the block and the last action."""
        self.estimate = BlockEstimate()
        self.offset_filter.reset()
        self._missed, self._height, self._gap = False, np.inf, np.inf
        self.grasped = False
        self.previous_action = np.zeros(self.action_size)
        self._before: tuple[float, Array] | None = None

    @property
    def size(self) -> int:
        """Number of entries of an observation with the block."""
        return self.proprioception_size + 10

    @property
    def proprioception_size(self) -> int:
        """Number of entries of an observation without it."""
        return 3 * self.robot.n + self.action_size + 10

    def on_detection(self, sighting: BlockDetection) -> None:
        """Take a detection of the block; one that the gripper holds is not on the table."""
        if not self.grasped:
            self.estimate.update(sighting)

    def proprioception(
        self, time: float, q: Array, qd: Array, opening: float, target: State
    ) -> NDArray[np.float32]:
        """Return what is known without the block, (joint_size,).

        Args:
            time: now [s].
            q: (n,) measured [rad].
            qd: (n,) measured [rad/s]; empty where the arm measures none.
            opening: measured distance of the finger pads [m].
            wanted: the state that the last action leads to.
        """
        if not qd.size:
            qd = self._slope(time, q)
        self._before, self.opening = (time, q), opening
        self.tool_pose = T = self.robot.forward_kinematics(q)
        self._hold(opening)
        self._touch(target, opening)
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
        return np.concatenate(parts).clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)

    def block_features(self, time: float) -> NDArray[np.float32]:
        """Return what is known of the block, (10,); call `joints` of the same instant before."""
        estimate, T = self.estimate, self.tool_pose
        seen = estimate.count > 0
        place = self._place
        turn = 4 * relative_yaw(T, estimate.yaw) if seen else 0.0
        age = min(time - estimate.time, OLD)
        entries = np.array(
            [
                *((place - T[:3, 3]) / DISTANCE_SCALE if seen else np.zeros(3)),
                *((self.goal - place) / DISTANCE_SCALE if seen else np.zeros(3)),
                *((np.cos(turn), np.sin(turn)) if seen else (0.0, 0.0)),
                float(age < FRESH) - age / OLD,
                min(estimate.count, MANY) / MANY,
            ]
        )
        return entries.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)

    def estimated_state(self) -> PrivilegedState | None:
        """Return the state as far as it is known; None before the block is seen."""
        if not self.estimate.count:
            return None
        turn = relative_yaw(self.tool_pose, self.estimate.yaw)
        return PrivilegedState(self.tool_pose, self._place, turn, self.grasped, self.opening)

    @property
    def _place(self) -> Array:
        """Where the block is taken to be (3,) [m]."""
        if self.grasped:
            return np.asarray(self.tool_pose[:3, 3])
        return self.estimate.position + np.array([*self.offset_filter.offset, 0.0])

    def _touch(self, wanted: State, opening: float) -> None:
        """Tell the search when the gripper closes on nothing, or stands on the block."""
        tool_pose, size, before = self.tool_pose, self.scene.block_size, self._height
        self._height = float(tool_pose[2, 3])
        at = tool_pose[:2, 3] - self.estimate.position[:2]
        low = self._height < 2 * size and float(np.linalg.norm(at)) < MAX_PROBE_DISTANCE
        if self.grasped or not (low and self.estimate.count):
            self._missed = False
            return
        closing = self.previous_action[-1] < 0
        empty = closing and opening < GRASPED_OPENING[0] * size
        sunk = self.robot.forward_kinematics(wanted.q)[2, 3] < tool_pose[2, 3] - PRESSED
        stuck = not closing and sunk and abs(self._height - before) < CREEP
        if (empty or stuck) and not self._missed:
            self.offset_filter.update_missed(at, self._axis)
        self._missed = empty or stuck

    @property
    def _axis(self) -> Array:
        """Direction in which the fingers close on the table, (2,)."""
        axis = self.tool_pose[:2, CLOSING]
        return np.asarray(axis / max(float(np.linalg.norm(axis)), 1e-9))

    def _slope(self, time: float, q: Array) -> Array:
        """Return the velocity (n,) [rad/s] of an arm that measures none."""
        if self._before is None or time <= self._before[0]:
            return np.zeros_like(q)
        return np.asarray((q - self._before[1]) / (time - self._before[0]))

    def _hold(self, opening: float) -> None:
        """Note whether the gripper has closed on the block; when let go, it stays where it was."""
        low, high = (share * self.scene.block_size for share in GRASPED_OPENING)
        settled = abs(opening - self._gap) < SETTLED
        self._gap = opening
        closed = (
            low < opening < high and self.previous_action[-1] < 0 and (self.grasped or settled)
        )
        place, near = self.tool_pose[:3, 3], self.grasped
        if not self.grasped and self.estimate.count:
            near = bool(np.linalg.norm(self._place - place) < GRASP_RADIUS)
        if self.grasped and not closed:
            self.estimate.set_position(place - np.array([*self.offset_filter.offset, 0.0]))
        if closed and near and not self.grasped:
            self.offset_filter.update_grasped(place[:2] - self.estimate.position[:2], self._axis)
        self.grasped = closed and near
