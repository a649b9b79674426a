"""Retargeting: a person's landmarks enter; joint positions of an arm that moves like theirs leave.

The arm stands where the person is and faces the same way: base x is the person's forward, y their
left, z up. So the robot's left is their left. The person's heading comes from the line of the
shoulders; up is up in the picture.

Directions of upper arm and forearm count, never positions: MediaPipe's bone lengths drift by a
quarter. An arm with human-like limbs (shoulder, elbow, wrist) takes over both directions. It is
taken as mounted on a wall behind the person's shoulder, base z forward and base x down, because an
upright one cannot lower its upper arm, and lowered is where a person's mostly is. Any other arm
brings its hand to the place of the person's hand, scaled so that the ball of the human hand fits
into the workspace in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from invdyn_ros.config import Fraction, Probability, Validated
from invdyn_ros.robots.inverse_kinematics import IKSolution, PositionIKSolver
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_directions import NUM_LANDMARKS, ArmDirections
from invdyn_ros.teleop.arm_geometry import (
    alternative_configurations,
    human_like_arm,
    measure_reach,
)
from invdyn_ros.teleop.filters import JointBounds, RateLimiter
from invdyn_ros.teleop.workspace import Workspace

MOUNT_ROTATIONS = {
    "table": np.eye(3),
    "wall": np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
}
"""R_base_person (3, 3): turns the person's forward, left, up into the arm's base frame."""

HOLD_REASONS = ("no person", "low visibility", "repeated time", "stale time")
UNREACHABLE_REASONS = ("below the base", "inside the base", "out of reach")


@dataclass(frozen=True)
class RetargetConfig(Validated):
    """Whose arm moves the robot, and how closely."""

    side: Literal["left", "right"] = "left"
    """The person's arm that counts."""
    mount: Literal["auto", "table", "wall"] = "auto"
    """How the arm's base stands to the person; auto is wall for human-like limbs, else table."""
    upper_arm: PositiveFloat = 0.29
    """Length of the person's upper arm [m]."""
    forearm: PositiveFloat = 0.26
    """Length of the person's forearm, elbow to wrist [m]."""
    scale: NonNegativeFloat = 0.0
    """Metres of the robot's hand per metre of the person's; 0 for what fits the workspace best."""
    min_visibility: Probability = 0.5
    """Least visibility of shoulder, elbow and wrist, 0..1; below it the arm holds."""
    max_age: PositiveFloat = 0.25
    """Oldest landmarks to act on [s]."""
    max_gap: PositiveFloat = 0.3
    """Longest gap [s] between landmarks over which the filter remembers."""
    min_cutoff: float = 1.0
    """Cut-off of the One-Euro filter at rest [Hz]."""
    beta: float = 0.2
    """Growth of the cut-off with the speed of a limb [Hz per rad/s]."""
    yaw_cutoff: PositiveFloat = 0.3
    """Cut-off of the person's heading [Hz]; low, for it comes from depth, which is uncertain."""
    tolerance: PositiveFloat = 0.005
    """Largest distance of wrist (and elbow) from their targets that counts as reached [m]."""
    margin: NonNegativeFloat = 0.05
    """Distance kept from each joint limit [rad]."""
    floor: float = 0.05
    """Least distance of the hand from the plane the base stands on [m]."""
    speed: Fraction = 0.95
    """Share of the joint velocity limits that is used."""
    acceleration: Fraction = 0.9
    """Share of the joint acceleration limits that is used."""


class RetargetResult(NamedTuple):
    """The wanted state of the arm, and what it follows. While it holds, what it follows is NaN."""

    q: np.ndarray  # (n,) [rad]
    qd: np.ndarray  # (n,) [rad/s]
    hand_target: (
        np.ndarray
    )  # (3,) [m] in the base frame: for the wrist of human-like limbs, else the tip
    upper_arm_direction: np.ndarray  # (3,) unit, shoulder to elbow, in the base frame
    forearm_direction: np.ndarray  # (3,) unit, elbow to wrist, in the base frame
    target_distance: (
        float  # [m] wrist (or elbow) from its target: what the arm's speed does not allow yet
    )
    unreachable_reason: (
        str | None
    )  # why no posture within limits brings the hand there, one of UNREACHABLE_REASONS
    hold_reason: str | None  # why the arm holds, one of HOLD_REASONS

    @property
    def reachable(self) -> bool:
        """Whether there is a hand target and some posture within limits brings the hand there."""
        return self.hold_reason is None and self.unreachable_reason is None


class Retargeter:
    """Turn landmarks into joint positions within position, speed and acceleration limits."""

    ITERATIONS = 8
    """Solver steps per call; two or three suffice in steady motion."""

    def __init__(self, robot: Robot, config: RetargetConfig | None = None) -> None:
        """Calibrate the scale from the arm's geometry and start at its home position.

        Raises:
            ValueError: a scale is given for an arm with human-like limbs, whose limbs set it.
        """
        self.robot, self.config = robot, config or RetargetConfig()
        self.human_like_arm = human_like_arm(robot)
        hand = self.human_like_arm.wrist if self.human_like_arm else robot.tip_link
        self.links = (self.human_like_arm.elbow, hand) if self.human_like_arm else (hand,)
        shoulder, length = measure_reach(robot, hand)
        self.workspace = Workspace(shoulder, 0.2 * length, self.config.floor)
        self._place_person(length)
        auto = "wall" if self.human_like_arm else "table"
        self._mount = MOUNT_ROTATIONS[auto if self.config.mount == "auto" else self.config.mount]
        self._solver = PositionIKSolver(robot, self.links, length, self.config.margin)
        self._directions = ArmDirections(
            self.config.side, (self.config.min_cutoff, self.config.beta), self.config.yaw_cutoff
        )
        speed, acceleration = self.config.speed, self.config.acceleration
        bounds = JointBounds(
            self._solver.lower,
            self._solver.upper,
            speed * robot.velocity,
            acceleration * robot.acceleration,
        )
        self._limiter = RateLimiter(bounds, robot.home)
        self.reset()

    def _place_person(self, length: float) -> None:
        """Choose where the person's shoulder is in the base frame and how long limbs become."""
        bones = np.array([self.config.upper_arm, self.config.forearm])
        if self.human_like_arm and self.config.scale:
            raise ValueError(
                f"{self.robot.name} keeps the lengths of its own limbs; leave scale at 0"
            )
        if self.human_like_arm:
            self.shoulder = self.workspace.shoulder
            self.bones = np.array(
                [self.human_like_arm.upper_arm, self.human_like_arm.forearm]
            )  # (2,) [m]
        else:
            self.shoulder, radius = self.workspace.hand_ball(length)
            self.bones = bones * (self.config.scale or radius / bones.sum())
        self.scale = float(self.bones.sum() / bones.sum())

    def reset(self, q: np.ndarray | None = None) -> None:
        """Forget the person and start at rest at q (n,) [rad], home unless told."""
        self._limiter.reset(self.robot.home if q is None else q)
        self._directions.reset()
        self._time = self._seen = -np.inf  # [s] of the last landmarks, and of the last used
        self._tries = 0

    def __call__(
        self, landmarks: np.ndarray | None, time: float, now: float | None = None
    ) -> RetargetResult:
        """Follow the person one picture further.

        Args:
            landmarks: (33, 4) x y z [m] and visibility in the hip frame; None without a person.
            time: when the picture was taken [s].
            now: the present on the same clock [s], to refuse old landmarks; None for offline use.

        Raises:
            ValueError: landmarks of another shape.
        """
        if landmarks is not None and landmarks.shape != (NUM_LANDMARKS, 4):
            raise ValueError(f"expected landmarks ({NUM_LANDMARKS}, 4), got {landmarks.shape}")
        elapsed = time - self._time
        if not elapsed > 0:
            if elapsed < -self.config.max_gap:  # the source started again
                self.reset(self._limiter.q)
                self._time = time
            return self._hold("repeated time", 0.0)
        self._time = time
        dt = 0.0 if np.isinf(elapsed) else min(elapsed, self.config.max_gap)
        if now is not None and now - time > self.config.max_age:
            return self._hold("stale time", dt)
        if landmarks is None:
            return self._hold("no person", dt)
        if self._directions.visibility(landmarks) < self.config.min_visibility:
            return self._hold("low visibility", dt)
        return self._follow(landmarks, dt)

    def _follow(self, landmarks: np.ndarray, dt: float) -> RetargetResult:
        if self._time - self._seen > self.config.max_gap:
            self._directions.reset()
        since, self._seen = self._time - self._seen, self._time
        person = self._directions.update(landmarks, since, self.config.min_visibility)
        directions = person @ self._mount.T  # (2, 3) in the base frame
        wanted = self.shoulder + np.cumsum(self.bones[:, None] * directions, axis=0)  # elbow, hand
        kept, reason = self.workspace.project(wanted[1])
        targets = np.array([wanted[0], kept])[-len(self.links) :]
        goal, near = self._solve(targets)
        if reason is None and goal.residual > self.config.tolerance:
            reason = "out of reach"
        if dt > 0:
            self._move(targets, goal.q, near, dt)
        q, qd, (upper, fore) = self._limiter.q.copy(), self._limiter.qd.copy(), directions
        behind = self._distance(targets)
        return RetargetResult(q, qd, wanted[1], upper, fore, behind, reason, None)

    def _solve(self, targets: np.ndarray) -> tuple[IKSolution, bool]:
        """Find where to go: on from where the arm is, else on from the last goal, else anew.

        Returns:
            The goal, and whether the arm gets there by coming closer to the targets all the way.
        """
        now, goal = self._limiter.q, self._limiter.goal
        solution = self._solver.solve(targets, now, self.ITERATIONS)
        if solution.residual <= self.config.tolerance or np.array_equal(now, goal):
            near = True
        else:
            near, solution = False, self._solver.solve(targets, goal, self.ITERATIONS)
        if solution.residual <= self.config.tolerance:
            return solution, near
        starts = [
            self.robot.home,
            *(alternative_configurations(self.robot, now) if self.human_like_arm else ()),
        ]
        start = starts[self._tries % len(starts)]  # one per call: time is short
        self._tries += 1
        other = self._solver.solve(targets, start, self.ITERATIONS)
        return (other, False) if other.residual <= self.config.tolerance else (solution, near)

    def _move(self, targets: np.ndarray, goal: np.ndarray, near: bool, dt: float) -> None:
        """Go to the goal (n,) [rad]; where a joint is too slow for that, let the others help."""
        low, high = self._limiter.window(goal, dt)
        q = np.clip(goal, low, high)
        if near and not np.array_equal(q, goal):
            nearest = self._solver.solve(targets, q, self.ITERATIONS // 4, (low, high))
            q = nearest.q
            if nearest.residual < self._solver.PRECISION:
                goal = q  # another posture that serves as well
        self._limiter.move(q, goal, dt)

    def _distance(self, targets: np.ndarray) -> float:
        """Return the largest distance of a link from its target [m], where the arm is now."""
        places = [
            self.robot.forward_kinematics(self._limiter.q, link)[:3, 3] for link in self.links
        ]
        return float(np.linalg.norm(np.array(places) - targets, axis=1).max())

    def _hold(self, reason: str, dt: float) -> RetargetResult:
        if dt > 0:
            self._limiter.brake(dt)
        q, qd = (
            self._limiter.q.copy(),
            self._limiter.qd.copy() if dt > 0 else np.zeros(self.robot.n),
        )
        nothing = np.full(3, np.nan)
        return RetargetResult(q, qd, nothing, nothing, nothing, np.nan, None, reason)


class RetargetErrors(NamedTuple):
    """How far an arm is from what it follows; NaN where there was nothing to follow."""

    wrist: np.ndarray  # (T,) [mm] from the hand target
    upper_arm: (
        np.ndarray | None
    )  # (T,) [deg] off the upper arm's direction; None without human-like limbs
    forearm: np.ndarray | None  # (T,) [deg] off the forearm's direction


def retarget_errors(
    robot: Robot,
    q: np.ndarray,
    hand_target: np.ndarray,
    upper_arm_direction: np.ndarray,
    forearm_direction: np.ndarray,
) -> RetargetErrors:
    """Measure how joint positions q (T, n) [rad] follow hand targets and directions (T, 3)."""
    human = human_like_arm(robot)
    links = human[:3] if human else (robot.tip_link,)
    places = np.array(
        [[robot.forward_kinematics(row, link)[:3, 3] for link in links] for row in q]
    )
    wrist = 1e3 * np.linalg.norm(places[:, -1] - hand_target, axis=1)
    if not human:
        return RetargetErrors(wrist, None, None)
    bones = np.diff(places, axis=1)  # (T, 2, 3)
    return RetargetErrors(
        wrist,
        *(_angle(bones[:, i], d) for i, d in enumerate((upper_arm_direction, forearm_direction))),
    )


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle [deg] between vectors (T, 3); unlike the arc cosine, exact when small."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.sum(a * b, axis=1)))
