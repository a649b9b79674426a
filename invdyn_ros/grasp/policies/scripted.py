"""Scripted grasp policy: a state machine that uses only camera detections and joint states."""

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.estimation.detection_gating import DetectionGate
from invdyn_ros.grasp.policies.follow_check import NOT_FOLLOWED, FollowCheck
from invdyn_ros.grasp.policies.grasp_command import BLOCK_NOT_DETECTED, DONE, GraspCommand
from invdyn_ros.grasp.policies.held_block import HeldBlockCheck
from invdyn_ros.grasp.policies.scripted_config import ScriptedGraspConfig
from invdyn_ros.grasp.policies.scripted_motion import (
    DETECTION_PHASES,
    ScriptedMotion,
    vertical,
)
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE
from invdyn_ros.grasp.policies.time_scaling import TimeScaling
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

PHASES = (
    *("detect", "approach", "verify", "descend", "close", "lift", "hold", "carry", "lower"),
    *("open", "retreat", "home", "check", DONE),
)
VERIFY_TIME = 0.25  # [s] for further detections after the approach
HOLDING_PHASES = ("hold", "carry", "lower")  # a block that is lost in these is noticed
RELEASE_HEIGHT = 0.004  # [m] height of the block over the goal at its release
SEARCH_TIME = 1.0  # [s] without a detection, after which the arm goes home for a free view
CHECK_TIME = 1.0  # [s] for which a released block is looked for
MOVED_DISTANCE = 0.02  # [m] a block that moved farther during the approach is approached again


class ScriptedGrasp(ScriptedMotion):
    """Detect, approach, descend, close, lift, carry, release, and check the result.

    Attributes:
        goal: (3,) goal of the centre of the block [m].
        losses: how often the block was lost from the gripper or was not at its goal afterwards.
    """

    def __init__(
        self, robot: Robot, scene: Scene, config: ScriptedGraspConfig | None = None
    ) -> None:
        """Create the policy; see `ScriptedMotion`."""
        super().__init__(robot, scene, config)
        self.detection_gate = DetectionGate(scene.seen_from(robot.forward_kinematics(robot.home)))
        self.held = HeldBlockCheck(robot, scene)
        self.goal = np.array(scene.goal)
        self.reset()

    def reset(self) -> None:
        """Start an episode at the home position with an open gripper."""
        self.detection_gate.reset()
        self.time_scaling, self.motion_time = TimeScaling(), 0.0
        self._follow_check, self._is_followed = FollowCheck(), True
        self.q = self.robot.home.copy()
        self.segment, self.opening = None, self.gripper.max_opening
        self.assign(self.goal, np.empty((0, 2)), 0.0)

    def assign(
        self, goal: Array, neighbours: Array, time: float, goal_yaw: float | None = None
    ) -> None:
        """Take a block to a goal next; the arm is at home.

        Args:
            goal: (3,) goal of the centre of the block [m].
            neighbours: (m, 2) other blocks [m].
            time: motion time at which its detection starts [s].
            goal_yaw: yaw of its sides at the goal [rad]; None: any.
        """
        self.goal_yaw = goal_yaw
        self.goal, self.neighbours, self.level = goal, neighbours, 0
        self.estimate.clear()
        self.held.reset()
        self.phase, self.phase_start = "detect", time
        self.attempts, self.losses, self.replan_time = 0, 0, 0.0
        self.at_home, self.gave_up, self._lost = True, False, ""
        self._after_home = "check"
        self.hold_reason = BLOCK_NOT_DETECTED

    def on_detection(self, detection: BlockDetection) -> None:
        """Process a detection of the block; a grasp does not change once the tool descends."""
        if self.phase == "check":
            self.detection_gate.clear(detection.time)
            self.estimate.update(detection)
        elif self.phase not in DETECTION_PHASES:
            self.detection_gate.clear(detection.time)
            self.held.on_detection(detection)
        elif not self.detection_gate.accept(detection):
            self.estimate.clear()
        elif self.phase != "approach" or self.estimate.count:
            self.estimate.update(detection)
            self.level = detection.level

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
        if not self._lost and self.phase in HOLDING_PHASES[1:]:
            self._lost = self.held.lost_reason(opening) or ""
        runs = rejection is None and self._is_followed and not self._lost
        now = self.motion_time = self.time_scaling.update(time, runs)
        if runs:
            self._advance(now, opening)
        elif self._lost and self.time_scaling.stopped:
            self._recover(now)
        elif rejection is None and not self._lost:
            rejection = NOT_FOLLOWED
        elif self.time_scaling.stopped and self.phase in DETECTION_PHASES:
            self._restart_detection(now)
        state = State(self.q, np.zeros_like(self.q), np.zeros_like(self.q))
        if self.segment is not None:
            lookahead = self.time_scaling.rate * control_period
            state = self.time_scaling.scale(self.segment.at(now + lookahead))
        self._follow_check.add(time, state.q)
        if self.phase in HOLDING_PHASES:
            self.held.add_command(time, state.q)
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
            following = PHASES[PHASES.index(self.phase) + 1]
            self._enter_phase(self._after_home if self.phase == "home" else following, time)
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
            self._approach(time)
        elif self.phase == "detect" and not self.at_home and elapsed >= SEARCH_TIME:
            self._go_home(time, "detect")
        elif self.phase == "check":
            self._check_result(time, elapsed)
        elif self.phase in wait_times and elapsed >= wait_times[self.phase]:
            self._after_wait(time, opening)

    def _after_wait(self, time: float, opening: float) -> None:
        config = self.config
        if self.phase == "verify" and self._has_moved():
            self._approach(time)
        elif self.phase == "verify":
            pose = self._pose_above_block(-config.grasp_depth)
            self._start_motion("descend", time, pose, config.slow_speed)
        elif self.phase == "close":
            pose = self._pose_above_tool(config.lift_height)
            self._start_motion("lift", time, pose, config.slow_speed)
        elif self.phase == "hold" and self.held.is_empty(opening):
            self._retry(time)
        elif self.phase == "hold":
            self.attempts = 0
            position = self.goal + vertical(config.lift_height)
            yaw = self.yaw if self.goal_yaw is None else self.goal_yaw
            pose = self.grasp_poses.nearest(position, yaw, self.q)
            self._start_motion("carry", time, pose)
        elif self.phase == "open":
            pose = self._pose_above_tool(config.lift_height)
            self._start_motion("retreat", time, pose, config.slow_speed)

    def _enter_phase(self, phase: str, time: float) -> None:
        self.phase, self.phase_start = phase, time
        if phase == "close":
            self.opening = 0.0
            self.held.reset()
        elif phase == "open":
            self.opening = self.gripper.max_opening
        elif phase == "lower":
            height = RELEASE_HEIGHT - self.config.grasp_depth
            position = self.goal + vertical(height)
            pose = self.grasp_poses.solve(position, self.yaw, self.q)
            self._start_motion("lower", time, pose, self.config.slow_speed)
        elif phase == "home":
            self._move_home(time)
        elif phase in ("check", "detect"):
            self.at_home = True
            self.estimate.clear()

    def _approach(self, time: float) -> None:
        self._aim = self.estimate.position[:2].copy()
        self._after_home = "check"
        self._start_motion("approach", time, self._pose_above_block(self.config.clearance))
        self.at_home = self.segment is None

    def _has_moved(self) -> bool:
        """Return whether the block has moved since the approach was planned."""
        return bool(np.linalg.norm(self.estimate.position[:2] - self._aim) > MOVED_DISTANCE)

    def _go_home(self, time: float, then: str) -> None:
        self._after_home = then
        self._enter_phase("home", time)

    def _check_result(self, time: float, elapsed: float) -> None:
        """Look for the released block; go back if it is not at its goal."""
        is_seen = self.estimate.count >= self.config.min_detections
        distance = float(np.linalg.norm((self.estimate.position - self.goal)[:2]))
        if is_seen and distance > GOAL_TOLERANCE:
            self.losses += 1
            self.phase, self.phase_start, self._after_home = "detect", time, "check"
            self.hold_reason = f"the block lies {1e3 * distance:.0f} mm from its goal, going back"
            if self.losses >= self.config.max_attempts:
                self._give_up(f"gave up: the block {self.losses} times did not stay at its goal")
        elif is_seen or elapsed >= CHECK_TIME:
            self.phase = DONE
            self.hold_reason = None if is_seen else "the block is not visible at its goal"

    def _recover(self, time: float) -> None:
        """Go back to detect a block that is no longer in the gripper, after a stop."""
        if self.segment is not None:
            self.q, self.segment = self.segment.at(time).q, None
        self.losses += 1
        self.hold_reason = f"the block is lost, {self._lost}; detecting it again"
        self._lost = ""
        self.estimate.clear()
        self.held.reset()
        self.opening = self.gripper.max_opening
        self._after_home = "detect"
        if self.losses >= self.config.max_attempts:
            self._give_up(f"gave up: the block was lost {self.losses} times")
            self._after_home = DONE
        pose = self._pose_above_tool(self.config.clearance) if self.phase == "lower" else None
        if pose is None:
            self._enter_phase("home", time)
            return
        reason = self.hold_reason
        self._start_motion("retreat", time, pose, self.config.slow_speed)
        self.hold_reason = reason

    def _give_up(self, reason: str) -> None:
        self.phase, self.hold_reason, self.gave_up = DONE, reason, True

    def _retry(self, time: float) -> None:
        """Detect the block again after an empty grasp; give up after the last attempt."""
        self.attempts += 1
        self.estimate.clear()
        self.opening = self.gripper.max_opening
        self.hold_reason = "empty grasp, detecting the block again"
        if self.attempts >= self.config.max_attempts:
            self._give_up(f"gave up after {self.attempts} empty grasps")
            self._go_home(time, DONE)
            return
        self.phase, self.phase_start = "detect", time
        self.segment = None
