"""The scripted grasp: joint states and sightings enter, wanted next states and grips leave."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.control.safety_limits import State
from invdyn_ros.grasp.estimation.block_estimate import QUARTER, BlockDetection, BlockEstimate
from invdyn_ros.grasp.estimation.detection_gating import DetectionGate, block_area
from invdyn_ros.grasp.policies.cartesian_motion import (
    MotionSegment,
    joint_motion,
    straight_line_motion,
)
from invdyn_ros.grasp.policies.time_scaling import TimeScaling
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

PHASES = (
    *("look", "approach", "check", "descend", "close", "lift", "hold", "carry", "lower"),
    *("open", "retreat", "return", "done"),
)


@dataclass(frozen=True)
class ScriptedGraspConfig:
    """How the scripted grasp moves.

    Attributes:
        clearance: height of the tool over the block before it descends [m].
        lift: height to which the block is lifted [m].
        depth: tool centre point below the block's centre when it grasps [m].
        speed: greatest speed of the tool on its way [m/s].
        careful: greatest speed of the tool next to block and table [m/s].
        sightings: how many detections the first approach needs.
        grip: time to close or open the gripper [s].
        dwell: how long the lifted block is held still [s].
        tries: how often it starts again after an empty grip.
        tilts: angles between approach and vertical that are tried, in this order [rad].
    """

    clearance: float = 0.08
    lift: float = 0.10
    depth: float = 0.0
    speed: float = 0.5
    careful: float = 0.2
    sightings: int = 3
    grip: float = 0.6
    dwell: float = 0.4
    tries: int = 3
    tilts: tuple[float, ...] = (0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.5, 0.6, 0.7)


DETECTION_PHASES = ("look", "approach", "check")  # phases that go by what the camera says
BLOCK_NOT_DETECTED = "block not seen"
REPLAN_INTERVAL = 0.5  # [s] between attempts while there is no way


class GraspPose(NamedTuple):
    """A pose (4, 4) of the tool, the joints (n,) [rad] that bring it there, its yaw [rad]."""

    pose: Array
    q: Array
    yaw: float


class GraspCommand(NamedTuple):
    """What the policy wants next.

    Attributes:
        state: wanted state at the asked time.
        opening: wanted distance of the finger pads [m].
        phase: what it is doing, one of PHASES.
        reason: why it waits, None while it acts.
        horizon: time until `state` is wanted [s]; None: the time that was asked for.
    """

    state: State
    opening: float
    phase: str
    hold_reason: str | None
    horizon: float | None = None


class ScriptedGrasp:
    """Approach, descend, close, lift, place, with what the camera says and nothing else."""

    def __init__(
        self, robot: Robot, scene: Scene, config: ScriptedGraspConfig | None = None
    ) -> None:
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper; grasping needs one")
        self.robot, self.scene = robot, scene
        self.config = config or _default_config(robot.name)
        self.gripper = robot.gripper
        self.ik = PoseIKSolver(robot)
        self.estimate = BlockEstimate()
        self.detection_gate = DetectionGate(scene)
        self.reset()

    def reset(self) -> None:
        """Start anew, at home with an open gripper."""
        self.estimate.clear()
        self.detection_gate.reset()
        self.time_scaling = TimeScaling()
        self.phase, self.since, self.tries, self.retry = "look", 0.0, 0, 0.0
        self.q = self.robot.home.copy()
        self.segment: MotionSegment | None = None
        self.opening = self.gripper.max_opening
        self.hold_reason: str | None = BLOCK_NOT_DETECTED

    def on_detection(self, sighting: BlockDetection) -> None:
        """Take a detection of the block; once the tool is on its way down, it is hidden."""
        if self.phase not in DETECTION_PHASES:
            self.detection_gate.clear(sighting.time)
        elif not self.detection_gate.accept(sighting):
            self.estimate.clear()
        elif self.phase != "approach" or self.estimate.count:
            self.estimate.update(sighting)

    def on_invalid_image(self, time: float, reason: str) -> None:
        """Take a picture of a time [s] in which the block cannot be told."""
        self.detection_gate.reject(time, reason)
        if self.phase in DETECTION_PHASES:
            self.estimate.clear()

    def on_no_detection(self, time: float) -> None:
        """Take a picture of a time [s] without a block."""
        self.detection_gate.clear(time)

    def update_joints(self, q: Array, qd: Array) -> None:
        """Take the measured joints, as every grasp; a script goes on from what it wanted last."""

    def command(self, time: float, opening: float, control_period: float) -> GraspCommand:
        """Return what is wanted `ahead` [s] from now.

        Args:
            time: now [s].
            opening: measured distance of the finger pads [m].
            ahead: the arm's control period [s].
        """
        doubt = self.detection_gate.reason
        now = self.time_scaling.update(time, doubt is None)
        if doubt is None:
            self._advance(now, opening)
        elif self.time_scaling.stopped and self.phase in DETECTION_PHASES:
            self._look_again(now)
        state = State(self.q, np.zeros_like(self.q), np.zeros_like(self.q))
        if self.segment is not None:
            state = self.time_scaling.scale(
                self.segment.at(now + self.time_scaling.rate * control_period)
            )
        return GraspCommand(state, self.opening, self.phase, doubt or self.hold_reason)

    def _look_again(self, time: float) -> None:
        """Stay here and look for the block anew: what was seen of it was not to be trusted."""
        if self.segment is not None:
            self.q, self.segment = self.segment.at(time).q, None
        self.phase, self.hold_reason = "look", BLOCK_NOT_DETECTED

    def _advance(self, time: float, opening: float) -> None:
        """Go to the next phase when this one is over."""
        if self.segment is not None:
            if time < self.segment.start + self.segment.duration:
                return
            self.q, self.segment = self.segment.end, None
            self._enter(PHASES[PHASES.index(self.phase) + 1], time)
        if time < self.retry:
            return
        waits = {"close": self.config.grip, "open": self.config.grip, "hold": self.config.dwell}
        waits |= {"check": 0.25}
        waited = time - self.since
        if self.phase == "look" and self.estimate.count >= self.config.sightings:
            self._go("approach", time, self._pose_above_block(self.config.clearance))
        elif self.phase in waits and waited >= waits[self.phase]:
            self._after_wait(time, opening)

    def _after_wait(self, time: float, opening: float) -> None:
        config, goal = self.config, np.array(self.scene.goal)
        if self.phase == "check":
            self._go("descend", time, self._pose_above_block(-config.depth), config.careful)
        elif self.phase == "close":
            self._go("lift", time, self._raised(config.lift), config.careful)
        elif self.phase == "hold" and opening < 0.6 * self.scene.block_size:
            self._again(time)
        elif self.phase == "hold":
            self._go("carry", time, self._closest(goal + _up(config.lift), self.yaw))
        elif self.phase == "open":
            self._go("retreat", time, self._raised(config.lift), config.careful)

    def _enter(self, phase: str, time: float) -> None:
        self.phase, self.since = phase, time
        if phase == "close":
            self.opening = 0.0
        elif phase == "open":
            self.opening = self.gripper.max_opening
        elif phase == "lower":
            low = np.array(self.scene.goal) + _up(0.004 - self.config.depth)
            self._go("lower", time, self._reach(low, self.yaw), self.config.careful)
        elif phase == "return":
            self.segment = joint_motion(self.robot, self.q, self.robot.home, time, 0.8)

    def _again(self, time: float) -> None:
        """Nothing was gripped: go home, look again."""
        self.tries += 1
        self.estimate.clear()
        self.opening = self.gripper.max_opening
        self.hold_reason = "gripped nothing, looking again"
        if self.tries >= self.config.tries:
            self.hold_reason = f"gave up after {self.tries} empty grips"
            self._enter("return", time)
            return
        self.phase, self.since = "look", time
        self.segment = None

    def _go(
        self, phase: str, time: float, goal: GraspPose | None, speed: float | None = None
    ) -> None:
        """Start a motion of the tool, straight if it can be, else straight in joint space."""
        if goal is None:
            self.hold_reason, self.retry = self._no_way(phase), time + REPLAN_INTERVAL
            return
        motion = straight_line_motion(self.ik, self.q, goal.pose, time, speed or self.config.speed)
        if motion is None:
            motion = joint_motion(self.robot, self.q, goal.q, time, 1.0)
        self.hold_reason, self.yaw = None, goal.yaw
        self.phase, self.since, self.segment = phase, time, motion

    def _no_way(self, phase: str) -> str:
        """Say what is out of reach."""
        if self.phase not in DETECTION_PHASES:
            return f"no way to {phase}: out of reach"
        x, y, _ = self.estimate.position
        return (
            f"no way to {phase} the block at x {x:.2f}, y {y:.2f} m: out of reach of "
            f"'{self.robot.name}'; put it where it can, {block_area(self.scene)}"
        )

    def _raised(self, height: float) -> GraspPose | None:
        """Return the tool `height` [m] above where it is."""
        position = self.robot.forward_kinematics(self.q)[:3, 3]
        return self._reach(position + _up(height), self.yaw)

    def _pose_above_block(self, height: float) -> GraspPose | None:
        """Return the tool `height` [m] over the middle of the block."""
        middle = self.scene.block_size / 2
        return self._closest(
            np.array([*self.estimate.position[:2], middle + height]), self.estimate.yaw
        )

    def _closest(self, position: Array, yaw: float) -> GraspPose | None:
        """Return the tool at a position (3,), held as needs the least motion of any joint.

        A block looks the same after a quarter turn: there are four ways to hold it.
        """
        ways = [self._reach(position, yaw + k * QUARTER) for k in range(-2, 2)]
        reached = [way for way in ways if way is not None]
        return min(reached, key=lambda way: np.abs(way.q - self.q).max(), default=None)

    def _reach(self, position: Array, yaw: float) -> GraspPose | None:
        """Return the tool at a position (3,), fingers along the yaw.

        The tool points down; where the arm cannot, it tilts away from its base.
        """
        bearing = np.arctan2(position[1], position[0])
        down = Rotation.from_euler("ZX", [yaw, np.pi])
        for tilt in self.config.tilts:
            lean = Rotation.from_rotvec(-tilt * np.array([-np.sin(bearing), np.cos(bearing), 0]))
            pose = np.eye(4)
            pose[:3, :3] = (lean * down).as_matrix()
            pose[:3, 3] = position
            q = self.ik.solve(pose, self.q)
            if q is not None:
                return GraspPose(pose, q, yaw)
        return None


def _up(height: float) -> Array:
    return np.array([0.0, 0.0, height])


def _default_config(arm: str) -> ScriptedGraspConfig:
    """Return the script of an arm; an arm that is not in the table gets the defaults."""
    grasp = ROBOTS[arm].grasp if arm in ROBOTS else None
    return (
        ScriptedGraspConfig(clearance=grasp.clearance, lift=grasp.lift)
        if grasp
        else ScriptedGraspConfig()
    )
