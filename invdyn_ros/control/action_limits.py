"""Limits of what is sent to an arm: torque and torque rate, or distance of a setpoint."""

from __future__ import annotations

import math

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import Limits, clip
from invdyn_ros.typing import Array

TORQUE_STEP = 0.12  # largest change of a torque at once, as a fraction of the effort limit [-]
TORQUE_RATE = 8.0  # and in addition, per time since the last torque [1/s]
SETPOINT_REACH = 0.05  # distance of a setpoint from a joint at rest [rad]: sag under gravity
SETPOINT_LEAD = 0.1  # and in addition, the planned travel in this time [s]
START_REACH = 0.02  # SETPOINT_REACH of the first setpoint after a gap [rad]
REACH_GROWTH = 0.1  # of START_REACH to SETPOINT_REACH [rad/s]
CLIPPED = "action clipped to the arm's limits"


class ActionLimits:
    """Limits of consecutive actions of an arm.

    Hard motions of the shipped models change torques by up to 0.11 of the effort limit at once,
    and keep setpoints within 0.05 rad + 0.08 s of planned travel.
    """

    def __init__(self, unit: str, limits: Limits) -> None:
        """Create limits for actions in a unit.

        Raises:
            ValueError: the unit has no limits.
        """
        if unit not in ("N m", "rad"):
            raise ValueError(f"no limits for actions in '{unit}'; known units: 'N m', 'rad'")
        self.is_effort, self.limits = unit == "N m", limits
        self.reset(None)

    def reset(self, torque: Array | None) -> None:
        """Start with a torque (n,) [N m]; None: the next one may be any."""
        self._last, self._last_time = torque, -math.inf
        self._start_time: float | None = None  # of the first setpoint

    def restart(self) -> None:
        """Let the next setpoint be near the arm, as after a gap."""
        self._start_time = None

    def limit(
        self, action: Array, time: float, measured: Array | None, desired: State
    ) -> tuple[Array, str | None]:
        """Return the action within the limits, and the reason if that changed it.

        Args:
            action: (n,) finite torque [N m] or setpoint [rad].
            time: current time [s].
            measured: (n,) measured position [rad], None if it is not known.
            desired: planned state now. A setpoint stays near it, so that a wrong model cannot lead
                an arm away whose measured position follows the setpoint.
        """
        limits = self.limits
        if self.is_effort:
            safe = clip(action, -limits.effort, limits.effort)
            if self._last is not None:
                dt = min(max(time - self._last_time, 0.0), 0.02)
                step = (TORQUE_STEP + TORQUE_RATE * dt) * limits.effort
                safe = clip(safe, self._last - step, self._last + step)
            self._last, self._last_time = safe, time
        else:
            safe, lower, upper = action, limits.lower, limits.upper
            reach = SETPOINT_REACH + SETPOINT_LEAD * np.abs(desired.qd)
            safe = clip(safe, desired.q - reach, desired.q + reach)
            if measured is not None:
                safe = clip(safe, measured - reach, measured + reach)
                # a joint that stands beyond its limit stays there until it moves inwards
                lower, upper = np.minimum(lower, measured), np.maximum(upper, measured)
            safe = clip(safe, lower, upper)
        reason = CLIPPED if np.count_nonzero(safe != action) else None
        if not self.is_effort and measured is not None:
            safe = self._near_start(safe, time, measured, reach)
        return safe, reason

    def _near_start(self, setpoint: Array, time: float, measured: Array, reach: Array) -> Array:
        """Return a setpoint (n,) that is near the arm after a gap, and further away later.

        Args:
            setpoint: (n,) within its limits [rad].
            time: current time [s].
            measured: (n,) measured position [rad].
            reach: (n,) distance that is allowed later [rad].
        """
        if self._start_time is None:
            self._start_time = time
        grown = START_REACH + REACH_GROWTH * max(time - self._start_time, 0.0)
        if grown > SETPOINT_REACH:
            return setpoint
        reach = reach - (SETPOINT_REACH - grown)
        return clip(setpoint, measured - reach, measured + reach)
