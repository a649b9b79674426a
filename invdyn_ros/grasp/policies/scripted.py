"""Scripted grasp policy: a state machine that uses only camera detections and joint states."""

from dataclasses import dataclass, replace

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, BlockEstimate
from invdyn_ros.grasp.estimation.detection_gating import DetectionGate, block_area
from invdyn_ros.grasp.policies.cartesian_motion import (
    MotionSegment,
    joint_motion,
    straight_line_motion,
)
from invdyn_ros.grasp.policies.follow_check import NOT_FOLLOWED, FollowCheck
from invdyn_ros.grasp.policies.grasp_command import BLOCK_NOT_DETECTED, GraspCommand
from invdyn_ros.grasp.policies.grasp_poses import GraspPose, GraspPoseSolver
from invdyn_ros.grasp.policies.time_scaling import TimeScaling
from invdyn_ros.robots.registry import ROBOTS, load_grasp_spec
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

PHASES = (
    *("detect", "approach", "verify", "descend", "close", "lift", "hold", "carry", "lower"),
    *("open", "retreat", "home", "done"),
)
DETECTION_PHASES = ("detect", "approach", "verify")  # detections are used in these phases only
REPLAN_INTERVAL = 0.5  # [s] between attempts to reach a pose that is out of reach
VERIFY_TIME = 0.25  # [s] for further detections after the approach
EMPTY_OPENING_RATIO = 0.6  # gripper opening over block size: narrower fingers hold no block
SPEED_FRACTION = 0.8  # of the speed limit of the tool, which the motion guard approaches too
RELEASE_HEIGHT = 0.004  # [m] height of the block over the goal at its release


@dataclass(frozen=True)
class ScriptedGraspConfig:
    """Settings of the scripted grasp.

    Attributes:
        clearance: height of the tool over the block before it descends [m].
        lift_height: height to which the block is lifted [m].
        grasp_depth: depth of the tool centre point below the block's centre in a grasp [m].
        max_speed: maximum speed of the tool in free space [m/s].
        slow_speed: maximum speed of the tool near block and table [m/s].
        min_detections: number of detections before the first approach.
        gripper_time: time to close or open the gripper [s].
        hold_time: time for which the lifted block is held still [s].
        max_attempts: number of empty grasps after which it gives up.
        tilts: angles from the vertical to try, in this order [rad].
    """

    clearance: float = 0.08
    lift_height: float = 0.10
    grasp_depth: float = 0.0
    max_speed: float = 0.5
    slow_speed: float = 0.2
    min_detections: int = 3
    gripper_time: float = 0.6
    hold_time: float = 0.4
    max_attempts: int = 3
    tilts: tuple[float, ...] = (0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.5, 0.6, 0.7)


def default_config(arm: str, tool_speed: float = np.inf) -> ScriptedGraspConfig:
    """Return the settings for an arm; the defaults for an arm that is not in the registry.

    Args:
        arm: name of the arm.
        tool_speed: speed limit of its tool [m/s], below which the script stays.
    """
    config = ScriptedGraspConfig()
    if arm in ROBOTS and ROBOTS[arm].gripper:
        spec = load_grasp_spec(arm)
        config = ScriptedGraspConfig(clearance=spec.clearance, lift_height=spec.lift_height)
    fastest = SPEED_FRACTION * tool_speed
    return replace(
        config,
        max_speed=min(config.max_speed, fastest),
        slow_speed=min(config.slow_speed, fastest),
    )


class ScriptedGrasp:
    """Detect, approach, descend, close, lift, carry and release."""

    def __init__(
        self, robot: Robot, scene: Scene, config: ScriptedGraspConfig | None = None
    ) -> None:
        """Create the policy.

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
        self.detection_gate = DetectionGate(scene)
        self.reset()

    def reset(self) -> None:
        """Start an episode at the home position with an open gripper."""
        self.estimate.clear()
        self.detection_gate.reset()
        self.time_scaling = TimeScaling()
        self._follow_check, self._is_followed = FollowCheck(), True
        self.phase, self.phase_start = "detect", 0.0
        self.attempts, self.replan_time = 0, 0.0
        self.q = self.robot.home.copy()
        self.segment: MotionSegment | None = None
        self.opening = self.gripper.max_opening
        self.hold_reason: str | None = BLOCK_NOT_DETECTED

    def on_detection(self, detection: BlockDetection) -> None:
        """Process a detection of the block, which is ignored once the tool descends."""
        if self.phase not in DETECTION_PHASES:
            self.detection_gate.clear(detection.time)
        elif not self.detection_gate.accept(detection):
            self.estimate.clear()
        elif self.phase != "approach" or self.estimate.count:
            self.estimate.update(detection)

    def on_invalid_image(self, time: float, reason: str) -> None:
        """Process an image of a time [s] in which the detection of the block is ambiguous."""
        self.detection_gate.reject(time, reason)
        if self.phase in DETECTION_PHASES:
            self.estimate.clear()

    def on_no_detection(self, time: float) -> None:
        """Process an image of a time [s] without a block."""
        self.detection_gate.clear(time)

    def update_joints(self, q: Array, qd: Array) -> None:
        """Wait for an arm that does not follow; a script continues from its own last command.

        Args:
            q: (n,) measured positions [rad].
            qd: (n,) measured velocities [rad/s], not used.
        """
        self._is_followed = self._follow_check.is_followed(q)

    def command(self, time: float, opening: float, control_period: float) -> GraspCommand:
        """Return the desired state one control period from now.

        Args:
            time: present time [s].
            opening: measured distance between the finger pads [m].
            control_period: control period of the arm [s].
        """
        rejection = self.detection_gate.reason
        runs = rejection is None and self._is_followed
        now = self.time_scaling.update(time, runs)
        if runs:
            self._advance(now, opening)
        elif rejection is None:
            rejection = NOT_FOLLOWED
        elif self.time_scaling.stopped and self.phase in DETECTION_PHASES:
            self._restart_detection(now)
        state = State(self.q, np.zeros_like(self.q), np.zeros_like(self.q))
        if self.segment is not None:
            lookahead = self.time_scaling.rate * control_period
            state = self.time_scaling.scale(self.segment.at(now + lookahead))
        self._follow_check.add(time, state.q)
        return GraspCommand(state, self.opening, self.phase, rejection or self.hold_reason)

    def _restart_detection(self, time: float) -> None:
        """Stay here and detect the block again, because the last detections were rejected."""
        if self.segment is not None:
            self.q, self.segment = self.segment.at(time).q, None
        self.phase, self.hold_reason = "detect", BLOCK_NOT_DETECTED

    def _advance(self, time: float, opening: float) -> None:
        """Enter the next phase when the present one is over."""
        if self.segment is not None:
            if time < self.segment.start + self.segment.duration:
                return
            self.q, self.segment = self.segment.end, None
            self._enter_phase(PHASES[PHASES.index(self.phase) + 1], time)
        if time < self.replan_time:
            return
        config = self.config
        wait_times = {
            "verify": VERIFY_TIME,
            "close": config.gripper_time,
            "hold": config.hold_time,
            "open": config.gripper_time,
        }
        elapsed = time - self.phase_start
        if self.phase == "detect" and self.estimate.count >= config.min_detections:
            self._start_motion("approach", time, self._pose_above_block(config.clearance))
        elif self.phase in wait_times and elapsed >= wait_times[self.phase]:
            self._after_wait(time, opening)

    def _after_wait(self, time: float, opening: float) -> None:
        config, goal = self.config, np.array(self.scene.goal)
        if self.phase == "verify":
            pose = self._pose_above_block(-config.grasp_depth)
            self._start_motion("descend", time, pose, config.slow_speed)
        elif self.phase == "close":
            pose = self._pose_above_tool(config.lift_height)
            self._start_motion("lift", time, pose, config.slow_speed)
        elif self.phase == "hold" and opening < EMPTY_OPENING_RATIO * self.scene.block_size:
            self._retry(time)
        elif self.phase == "hold":
            position = goal + _vertical(config.lift_height)
            pose = self.grasp_poses.nearest(position, self.yaw, self.q)
            self._start_motion("carry", time, pose)
        elif self.phase == "open":
            pose = self._pose_above_tool(config.lift_height)
            self._start_motion("retreat", time, pose, config.slow_speed)

    def _enter_phase(self, phase: str, time: float) -> None:
        self.phase, self.phase_start = phase, time
        if phase == "close":
            self.opening = 0.0
        elif phase == "open":
            self.opening = self.gripper.max_opening
        elif phase == "lower":
            height = RELEASE_HEIGHT - self.config.grasp_depth
            position = np.array(self.scene.goal) + _vertical(height)
            pose = self.grasp_poses.solve(position, self.yaw, self.q)
            self._start_motion("lower", time, pose, self.config.slow_speed)
        elif phase == "home":
            self.segment = joint_motion(self.robot, self.q, self.robot.home, time, 0.8)

    def _retry(self, time: float) -> None:
        """Detect the block again after an empty grasp; give up after the last attempt."""
        self.attempts += 1
        self.estimate.clear()
        self.opening = self.gripper.max_opening
        self.hold_reason = "empty grasp, detecting the block again"
        if self.attempts >= self.config.max_attempts:
            self.hold_reason = f"gave up after {self.attempts} empty grasps"
            self._enter_phase("home", time)
            return
        self.phase, self.phase_start = "detect", time
        self.segment = None

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
        return self.grasp_poses.solve(position + _vertical(height), self.yaw, self.q)

    def _pose_above_block(self, height: float) -> GraspPose | None:
        """Return the pose `height` [m] above the centre of the block."""
        position = np.array([*self.estimate.position[:2], self.scene.block_size / 2 + height])
        return self.grasp_poses.nearest(position, self.estimate.yaw, self.q)


def _vertical(height: float) -> Array:
    return np.array([0.0, 0.0, height])
