"""Trajectories for arms whose controller interpolates instead of taking one setpoint at a time.

A joint_trajectory_controller of ros2_control follows the newest trajectory that it got, by its
stamp. Each trajectory is the verified plan up to its end at rest, so an arm that gets no further
one stops along the motion that the motion guard has verified.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.motion_profile import Plan, State
from invdyn_ros.robots.quintic import PEAK_VELOCITY
from invdyn_ros.typing import Array

REPEAT_PERIOD = 0.04  # [s] between two trajectories of one plan, should one be lost
POINT_PERIOD = 0.02  # [s] between points; a quintic spline is then within 1e-5 rad of a plan
STAMP_TOLERANCE = 1e-3  # [s]
MIN_DURATION = 0.1  # [s] of a trajectory: a controller refuses one that ends in the past
CONTINUITY = 1e-3  # [rad] by which a plan may start beside the one before
REST_TOLERANCE = 1e-4  # [rad] between two plans at rest that are the same
RETURN_SPEED = 0.2  # of the velocity limit [-] at which a plan that starts elsewhere is joined


class Waypoints(NamedTuple):
    """Points of a trajectory.

    Attributes:
        start: time of the first point, by the stamps of the joint states [s].
        time: (K,) after the start, increasing from zero [s].
        q: (K, n) [rad].
        qd: (K, n) [rad/s].
        qdd: (K, n) [rad/s2].
    """

    start: float
    time: Array
    q: Array
    qd: Array
    qdd: Array


class TrajectoryOutput:
    """Turns the plans of one arm into trajectories, each of which ends at rest."""

    def __init__(self, velocity: Array, repeats: bool = True) -> None:
        """Create the output of an arm.

        Args:
            velocity: (n,) its velocity limits [rad/s].
            repeats: whether to repeat a trajectory, which may have been lost.
        """
        self._velocity, self._repeats = velocity, repeats
        self.reset()

    def reset(self) -> None:
        """Forget what was sent; the next plan starts at rest where the arm is."""
        self._sent: Plan | None = None
        self._sent_time = -math.inf  # [s]
        self._joined_until = -math.inf  # [s] the end of a way to a plan that starts elsewhere

    def update(self, plan: Plan, time: float) -> Waypoints | None:
        """Return the trajectory to send now, None if the last one is still right.

        Args:
            plan: the verified plan.
            time: current time, by the stamps of the joint states [s].
        """
        sent = self._sent
        if sent is not None and time < self._sent_time:  # simulated time started again
            self.reset()
            sent = None
        is_new = sent is None or not _is_same(plan, sent, time)
        is_over = plan.end_time + MIN_DURATION < time
        is_early = time - self._sent_time < REPEAT_PERIOD - STAMP_TOLERANCE
        if not is_new and (is_early or is_over or not self._repeats):
            return None
        if not is_new and time < self._joined_until:
            return None
        waypoints = _waypoints(plan, time)
        if sent is not None and is_new:
            before = sent.at(time)
            if np.abs(before.q - waypoints.q[0]).max() > CONTINUITY:
                waypoints = self._join(before, plan, time)
        self._sent, self._sent_time = plan, time
        return waypoints

    def _join(self, before: State, plan: Plan, time: float) -> Waypoints:
        """Return the way from the motion before to the end of a plan that starts elsewhere.

        A plan starts elsewhere after a fault, where it holds the arm at the measured joints.

        Args:
            before: state of the motion before.
            plan: the plan.
            time: current time [s].
        """
        end = plan.at(math.inf)
        distance = np.abs(end.q - before.q) / (RETURN_SPEED * self._velocity)
        duration = max(MIN_DURATION, PEAK_VELOCITY * float(distance.max()))
        self._joined_until = time + duration
        still = np.zeros_like(end.q)
        rows = ((before.q, end.q), (before.qd, still), (before.qdd, still))
        return Waypoints(time, np.array([0.0, duration]), *map(np.stack, rows))


def _is_same(plan: Plan, sent: Plan, time: float) -> bool:
    """Return whether a plan is the one that was sent, or rests where that one does."""
    if plan.profile is sent.profile:
        return True
    if max(plan.end_time, sent.end_time) > time:
        return False
    return float(np.abs(plan.at(time).q - sent.at(time).q).max()) < REST_TOLERANCE


def _waypoints(plan: Plan, time: float) -> Waypoints:
    """Return the points of a plan from a time [s] to its end at rest."""
    remaining = max(plan.end_time - time, 0.0)
    steps = np.arange(0.0, remaining - POINT_PERIOD / 4, POINT_PERIOD)
    states = [plan.at(time + h) for h in steps]
    ends = [remaining] if remaining >= MIN_DURATION else [remaining, MIN_DURATION]
    ends = [end for end in ends if end > 0 or not len(steps)]
    # stamps are not accurate enough to find the end, where all is at rest
    states += [plan.at(math.inf)] * len(ends)
    q, qd, qdd = (np.stack(columns) for columns in zip(*states, strict=True))
    return Waypoints(time, np.append(steps, ends), q, qd, qdd)
