"""Motions of a scripted grasp: to poses over blocks, goals and the tool, and home."""

from __future__ import annotations

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import BlockEstimate
from invdyn_ros.grasp.estimation.detection_gating import block_area
from invdyn_ros.grasp.policies.cartesian_motion import (
    MotionSegment,
    joint_motion,
    straight_line_motion,
)
from invdyn_ros.grasp.policies.grasp_command import BLOCK_NOT_DETECTED
from invdyn_ros.grasp.policies.grasp_poses import GraspPose, GraspPoseSolver
from invdyn_ros.grasp.policies.scripted_config import ScriptedGraspConfig, default_config
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

DETECTION_PHASES = ("detect", "approach", "verify")  # detections change the grasp only in these
REPLAN_INTERVAL = 0.5  # [s] between attempts to reach a pose that is out of reach
FINGER_WIDTH = 0.02  # [m]
MIN_HOMING_TIME = 0.8  # [s]


class ScriptedMotion:
    """Phase, motion and gripper of a scripted grasp.

    Attributes:
        q: (n,) commanded joint positions where no motion is under way [rad].
        segment: present motion, None at rest.
        opening: commanded distance between the finger pads [m].
        phase: name of the present phase.
        phase_start: motion time at which it began [s].
        estimate: estimate of the block.
        level: number of blocks below it.
        neighbours: (m, 2) other blocks, which the open fingers avoid [m].
        hold_reason: why the arm waits, or what went wrong; None while all is well.
    """

    def __init__(
        self, robot: Robot, scene: Scene, config: ScriptedGraspConfig | None = None
    ) -> None:
        """Create the motions of an arm.

        Args:
            robot: an arm with a gripper.
            scene: nominal scene: camera, block size, goal.
            config: settings; None: those of the arm.

        Raises:
            ValueError: the arm has no gripper.
        """
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper, which grasping needs")
        self.robot, self.scene = robot, scene
        self.config = config or default_config(robot.name)
        self.gripper = robot.gripper
        self.grasp_poses = GraspPoseSolver(robot, self.config.tilts)
        self.estimate = BlockEstimate()
        self.q = robot.home.copy()
        self.segment: MotionSegment | None = None
        self.opening = self.gripper.max_opening
        self.phase, self.phase_start, self.replan_time = "detect", 0.0, 0.0
        self.level, self.neighbours, self.yaw = 0, np.empty((0, 2)), 0.0
        self.hold_reason: str | None = BLOCK_NOT_DETECTED

    def _move_home(self, time: float) -> None:
        """Start the motion home at a motion time [s]."""
        self.segment = joint_motion(self.robot, self.q, self.robot.home, time, MIN_HOMING_TIME)

    def _start_motion(
        self, phase: str, time: float, goal: GraspPose | None, max_speed: float | None = None
    ) -> None:
        """Enter a phase with a motion of the tool, straight where possible, else in joint space.

        Args:
            phase: the next phase.
            time: present time [s].
            goal: pose at the end; None, if it is out of reach: the present phase goes on.
            max_speed: maximum speed of the tool [m/s]; None: that of free space.
        """
        if goal is None:
            self.hold_reason = self._unreachable_reason(phase)
            self.replan_time = time + REPLAN_INTERVAL
            return
        speed = max_speed or self.config.max_speed
        motion = straight_line_motion(self.grasp_poses.ik, self.q, goal.pose, time, speed)
        if motion is None:
            motion = joint_motion(self.robot, self.q, goal.q, time, 1.0)
        self.hold_reason, self.yaw = None, goal.yaw
        self.phase, self.phase_start, self.segment = phase, time, motion

    def _unreachable_reason(self, phase: str) -> str:
        """Return a message that names the pose which is out of reach."""
        if self.phase not in DETECTION_PHASES:
            return f"cannot {phase}: out of reach"
        x, y, _ = self.estimate.position
        return (
            f"cannot {phase} the block at x {x:.2f}, y {y:.2f} m: out of reach of "
            f"'{self.robot.name}'; move the block into {block_area(self.scene)}"
        )

    def _pose_above_tool(self, height: float) -> GraspPose | None:
        """Return the pose `height` [m] above the present one."""
        position = self.robot.forward_kinematics(self.q)[:3, 3]
        return self.grasp_poses.solve(position + vertical(height), self.yaw, self.q)

    def _pose_above_block(self, height: float) -> GraspPose | None:
        """Return the pose `height` [m] above the centre of the block."""
        middle = (self.level + 0.5) * self.scene.block_size
        position = np.array([*self.estimate.position[:2], middle + height])
        return self.grasp_poses.nearest(position, self.estimate.yaw, self.q, self._has_room)

    def _has_room(self, position: Array, yaw: float) -> bool:
        """Return whether the open fingers at a position (3,) and a yaw touch no neighbour."""
        axis = np.array([-np.sin(yaw), np.cos(yaw)])  # along which they close
        reach = self.opening / 2 + FINGER_WIDTH / 2
        fingers = position[:2] + np.array([[-reach], [reach]]) * axis  # (2, 2)
        distance = np.linalg.norm(fingers[:, None] - self.neighbours[None], axis=2)
        radius = self.scene.block_size / np.sqrt(2) + FINGER_WIDTH / 2
        return bool((distance > radius).all())


def vertical(height: float) -> Array:
    """Return the vector (3,) to a point at a height [m] above another one."""
    return np.array([0.0, 0.0, height])
