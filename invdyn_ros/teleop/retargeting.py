"""Retargeting of a person's arm motion, given as pose landmarks, to a robot arm.

The base of the arm is aligned with the person: x points forward, y to the person's left, z up, so
the robot's left is the person's left. The heading of the person is perpendicular to the line
through the shoulders; up is the upward direction of the image.

Only the directions of upper arm and forearm are used, because the bone lengths of MediaPipe vary
by a quarter. A human-like arm (shoulder, elbow, wrist) follows both directions. It is assumed to
be mounted on a wall behind the person's shoulder, base z forward and base x down, because a
person's upper arm mostly hangs down, which an upright arm cannot reproduce. The hand of any other
arm follows the position of the person's hand, scaled so that the sphere of all its positions fits
into the workspace in front of the arm; with a tool that points down to the table, so that the
hand before the chest is where the tool is at home, and the table somewhat above the waist. A
calibration gesture replaces the assumed proportions of the person by measured ones.
"""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.ik_tasks import ClearanceLimit, DirectionTask
from invdyn_ros.robots.inverse_kinematics import PositionIKSolver
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_directions import NUM_LANDMARKS, ArmDirections
from invdyn_ros.teleop.arm_geometry import human_like_arm, measure_reach
from invdyn_ros.teleop.filters import JointBounds, RateLimiter
from invdyn_ros.teleop.hand_calibration import CALIBRATING, CalibrationGesture, HandCalibration
from invdyn_ros.teleop.hand_mapping import HandMapping, map_hand
from invdyn_ros.teleop.person_check import PERSON_HOLD_REASONS, PersonCheck
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retarget_result import RetargetResult
from invdyn_ros.teleop.swivel import ElbowFollower, swivel_links
from invdyn_ros.teleop.target_tracker import OBSTRUCTIONS, OUT_OF_REACH, TargetTracker
from invdyn_ros.teleop.workspace import Workspace

MARGINS = CollisionConfig(
    self_margin=0.015, obstacle_margin=0.03, gripper_margin=0.008, range=0.05
)
"""Distances that the arm keeps, larger than those of the motion guard, which stops the arm."""
DIRECTION_COST = 0.05
"""Cost of an error of one radian of a tool that points down, as a fraction of the arm's reach."""
LANDMARK_SHAPES = ((NUM_LANDMARKS, 4), (NUM_LANDMARKS, 6))
HOLD_REASONS = (
    *PERSON_HOLD_REASONS,
    "repeated time",
    "stale time",
    "arm is elsewhere",
    CALIBRATING,
)
UNREACHABLE_REASONS = ("below the base", "inside the base", *OBSTRUCTIONS)


class Retargeter:
    """Map landmarks to joint positions within limits, clear of obstacles and of the arm itself.

    Only a plausible person is followed, and slowly at first.

    Attributes:
        mapping: where the places of the person's elbow and hand lie.
        calibration: what the gesture of the person has shown; None: there was none.
        calibration_problem: why the last gesture gave no calibration; None if it did.
    """

    def __init__(
        self,
        robot: Robot,
        config: RetargetConfig | None = None,
        obstacles: Obstacles | None = None,
        calibration: HandCalibration | None = None,
    ) -> None:
        """Compute the scale from the geometry of the arm and start at the home position.

        Args:
            robot: the arm.
            config: settings.
            obstacles: table and boxes around the arm; None: those of its entry.
            calibration: of the person, from an earlier gesture.

        Raises:
            ValueError: a scale is given for a human-like arm, whose link lengths determine it,
                or its tool shall point down.
        """
        self.robot, self.config = robot, config or RetargetConfig()
        self.human_like_arm = human_like_arm(robot)
        hand = self.human_like_arm.wrist if self.human_like_arm else robot.tip_link
        self.links = (self.human_like_arm.elbow, hand) if self.human_like_arm else (hand,)
        shoulder, length = measure_reach(robot, hand)
        self._reach = length  # [m]
        is_down = self.config.tool == "down"
        height = self.config.min_tool_height if is_down else self.config.min_height
        radius = (0.3 if is_down else 0.2) * length  # a tool that points down needs more room
        self.workspace = Workspace(shoulder, radius, height)
        self.calibrate(calibration)
        noise = self.config.depth_noise, self.config.image_noise
        self._directions = ArmDirections(
            self.config.side, self.config.yaw_cutoff, noise, self.config.prediction
        )
        self._person = PersonCheck(
            self.config.side, self.config.min_visibility, self.config.max_gap
        )
        around = load_arm_obstacles(robot.name) if obstacles is None else obstacles
        collision = CollisionModel(robot, around, MARGINS)
        self._tracker = self._create_tracker(length, collision)
        self._limiter = self._tracker.limiter
        self.reset()

    def _create_tracker(self, length: float, collision: CollisionModel) -> TargetTracker:
        """Return the tracker of the arm, whose reach is `length` [m]."""
        robot, config = self.robot, self.config
        limits, down = (ClearanceLimit(collision),), np.array([0.0, 0.0, -1.0])
        cost = DIRECTION_COST * length
        self._axis = DirectionTask(robot.model(), robot.tip_link, down, cost)
        aims = [] if config.tool == "free" else [self._axis]
        is_free = config.elbow and not self.human_like_arm  # which follows the elbow's place
        swivel = swivel_links(robot, self.links[-1]) if is_free else None
        self._elbow = None if swivel is None else ElbowFollower(robot, swivel)
        margin = config.joint_limit_margin
        solver = PositionIKSolver(robot, self.links, length, margin, limits, aims)
        bounds = JointBounds(
            solver.lower,
            solver.upper,
            config.velocity_fraction * config.speed * robot.velocity,
            config.acceleration_fraction * robot.acceleration,
        )
        limiter = RateLimiter(bounds, robot.home)
        # the joints of human-like arms are slower, and elbow and wrist move on spheres
        speed = np.inf if self.human_like_arm else config.tool_speed
        return TargetTracker(solver, limiter, collision, config.tolerance, speed, self._elbow)

    def calibrate(self, calibration: HandCalibration | None) -> None:
        """Map the person as a gesture has shown; None: by the proportions of the settings."""
        arm = self.robot, self.human_like_arm, self.workspace, self._reach
        self.mapping: HandMapping = map_hand(*arm, self.config, calibration)
        self.calibration = calibration
        self.calibration_problem: str | None = None
        self._await_gesture()

    def _await_gesture(self) -> None:
        """Let the next person who is followed make the gesture, if one is needed."""
        is_needed = self.config.calibrate and self.calibration is None
        self._gesture = CalibrationGesture(self.config.side) if is_needed else None

    def reset(self, q: np.ndarray | None = None) -> None:
        """Forget the person and start at rest at q (n,) [rad]; None: at the home position."""
        self._tracker.reset(self.robot.home if q is None else q)
        if self._elbow is not None:
            self._elbow.reset()
        self._directions.reset()
        self._person.reset()
        if self._gesture is not None:
            self._await_gesture()
        self._offset: np.ndarray | None = None  # (3,) of the hand in relative mode [m]
        self._time = self._followed_time = -np.inf  # [s] last landmarks, last followed ones

    def note_engaged(self) -> None:
        """Take whoever is followed next as the operator, and where the hand is as the start."""
        self._person.operator.reset()
        self._followed_time = -np.inf
        self._await_gesture()

    def __call__(
        self,
        landmarks: np.ndarray | None,
        time: float,
        now: float | None = None,
        measured: np.ndarray | None = None,
    ) -> RetargetResult:
        """Return the desired state after the next image.

        Args:
            landmarks: (33, 4) x, y, z [m] and visibility in the hip frame, or (33, 6) with the
                position in the image [image heights]; None: no person.
            time: stamp of the image [s].
            now: present time of the same clock [s], to detect old landmarks; None: do not check.
            measured: (n,) measured joint positions [rad]; None: the arm follows exactly.

        Raises:
            ValueError: landmarks of another shape.
        """
        if landmarks is not None and landmarks.shape not in LANDMARK_SHAPES:
            raise ValueError(f"expected landmarks (33, 4) or (33, 6), got {landmarks.shape}")
        elapsed = time - self._time
        if not elapsed > 0:
            if elapsed < -self.config.max_gap:  # the source has restarted
                self.reset(self._limiter.q)
                self._time = time
            return self._hold("repeated time", 0.0)
        self._time = time
        dt = 0.0 if np.isinf(elapsed) else min(elapsed, self.config.max_gap)
        if now is not None and abs(now - time) > self.config.max_age:
            reason: str | None = "stale time"
        else:
            reason = self._person.update(landmarks, time)
        if self._tracker.is_elsewhere(measured):
            reason = reason or "arm is elsewhere"
        if reason is None and landmarks is not None:
            person = self._update_directions(landmarks)
            reason = self._watch_gesture(landmarks, person)
            if reason is None:
                return self._follow(person, dt)
        else:
            self._watch_gesture(None)
        return self._hold(str(reason), dt)

    def _update_directions(self, landmarks: np.ndarray) -> np.ndarray:
        """Return the filtered directions (2, 3) of a person who is to be followed."""
        if self._time - self._followed_time > self.config.max_gap:
            self._directions.reset()
            self._offset = None
        elapsed, self._followed_time = self._time - self._followed_time, self._time
        return self._directions.update(landmarks, elapsed, self.config.min_visibility)

    def _watch_gesture(
        self, landmarks: np.ndarray | None, person: np.ndarray | None = None
    ) -> str | None:
        """Return why the arm holds during the gesture, None without one."""
        if self._gesture is None:
            return None
        if landmarks is not None and person is not None:
            self._gesture.add(landmarks, person, self._time)
        if not self._gesture.is_over(self._time):
            return CALIBRATING
        try:
            self.calibrate(self._gesture.result(self.config.max_gap))
        except ValueError as error:
            self.calibration_problem, self._gesture = str(error), None
        self._offset = None
        return None

    def _follow(self, person: np.ndarray, dt: float) -> RetargetResult:
        elbow, hand, directions = self.mapping.place(person)
        if self.config.mode == "relative":
            if self._offset is None:
                self._offset = self._tip() - hand
            hand = hand + self._offset
        projected, reason = self.workspace.project(hand)
        if self.config.tool == "down":
            projected = self.workspace.limit_descent(projected, self._tip(), dt)
        if self.config.tool == "hand":
            self._point_tool()
        if self._elbow is not None:
            self._elbow.follow(self.mapping, person, projected, dt)
        targets = np.array([elbow, projected])[-len(self.links) :]
        obstruction = self._tracker.follow(targets, dt)
        if obstruction and np.linalg.norm(projected - self.workspace.shoulder) > self._reach:
            obstruction = OUT_OF_REACH
        q, qd, (upper, fore) = self._limiter.q.copy(), self._limiter.qd.copy(), directions
        distance = self._tracker.distance(targets)
        reason, horizon = reason or obstruction, self.config.horizon
        return RetargetResult(q, qd, hand, upper, fore, distance, reason, None, horizon)

    def _point_tool(self) -> None:
        """Let the tool point where the person's hand does, or as it does if none was visible."""
        hand = self._directions.hand
        if hand is not None:
            self._axis.direction = self.mapping.R_base_person @ hand
            return
        T = self.robot.forward_kinematics(self._limiter.q, self.robot.tip_link)
        self._axis.direction = T[:3, 2]

    @property
    def is_calibrating(self) -> bool:
        """Whether the person makes the gesture."""
        return self._gesture is not None and self._gesture.has_begun

    def _tip(self) -> np.ndarray:
        """Return the position (3,) of the tool at the desired state [m]."""
        return np.asarray(self.robot.forward_kinematics(self._limiter.q, self.links[-1])[:3, 3])

    def targets(self, person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the hand target (3,) [m] and both directions (3,) in the base frame.

        In relative mode, the target lacks the offset of the present run.

        Args:
            person: (2, 3) unit directions of upper arm and forearm in the person's frame.
        """
        _, hand, directions = self.mapping.place(person)
        return hand, directions[0], directions[1]

    def _hold(self, reason: str, dt: float) -> RetargetResult:
        if dt > 0:
            self._tracker.hold(dt)
        if self._elbow is not None:
            self._elbow.relax(dt)
        q = self._limiter.q.copy()
        qd = self._limiter.qd.copy() if dt > 0 else np.zeros(self.robot.n)
        nan = np.full(3, np.nan)
        return RetargetResult(q, qd, nan, nan, nan, np.nan, None, reason, 0.0)
