"""Targets in lockstep, which take effect at the time of their stamp."""

import math

from invdyn_ros.control.motion_profile import Target

TOLERANCE = 1e-6  # [s] of stamps that mean the same time


class TargetQueue:
    """Targets of one arm in lockstep.

    Which target is followed depends on the time of the joint state alone: messages may be late,
    repeated, because an answer took long, or from before a reset of the simulation.
    """

    def __init__(self, target_rate: float, state_rate: float) -> None:
        """Create an empty queue.

        Args:
            target_rate: targets have stamps at multiples of 1/target_rate [Hz].
            state_rate: rate of the joint states [Hz].
        """
        self._target_rate, self._period = target_rate, 1 / state_rate
        self._targets: dict[int, Target] = {}  # by stamp [ns]

    def add(self, stamp: int, target: Target) -> None:
        """Add a target with its stamp [ns]."""
        self._targets[stamp] = target

    def at(self, stamp: int) -> tuple[int, Target] | None:
        """Return the target to follow at a joint state, with its stamp [ns].

        Args:
            stamp: of the joint state [ns].

        Returns:
            None while the target has not arrived.
        """
        time = stamp * 1e-9
        due = math.floor((time + TOLERANCE) * self._target_rate) / self._target_rate
        # The simulation waits for each target, so later ones than that of the next joint state
        # are from before a reset.
        earliest, latest = due - TOLERANCE, time + 1.5 * self._period
        self._targets = {s: t for s, t in self._targets.items() if earliest <= s * 1e-9 <= latest}
        arrived = [s for s in self._targets if s * 1e-9 <= time + TOLERANCE]
        return (max(arrived), self._targets[max(arrived)]) if arrived else None
