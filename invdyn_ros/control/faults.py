"""Faults: what makes an arm stop until it is engaged again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from invdyn_ros.config import RECONFIGURABLE, Fraction, FractionBelowOne, Validated
from invdyn_ros.typing import Array

STOPPED = "joint states stopped"
FROZEN = "joint states are frozen"
JUMPED = "joint states jumped"
STAMPS_JUMPED = "stamps of joint states jumped"
NOT_FOLLOWING = "joint does not follow"
FOLLOWING_ERROR = "following error"
OVERSPEED = "overspeed"
CONTRADICTION = "velocities contradict positions"
LOOP_DELAY = "loop delay"
MODEL_NOT_FINITE = "model output is not finite"
MODEL_IMPLAUSIBLE = "model output is implausible"
DRIVER_NOT_READY = "driver is not ready"
CONTROLLER_INACTIVE = "controller is not active"
STOP_REQUESTED = "stopped"  # no fault: somebody wants the arm to stop
NOT_ENGAGED = "not engaged"  # no fault: nobody has engaged the arm yet, or it was disengaged

GAPS = (STOPPED, LOOP_DELAY)  # after one of these, the arm stands where it is measured next
TRACKING = frozenset({NOT_FOLLOWING, FOLLOWING_ERROR, OVERSPEED})
MODEL_FAULTS = frozenset({MODEL_NOT_FINITE, MODEL_IMPLAUSIBLE})
# After one of these, the measured joints are where the arm is, so it can be stopped with them.
TRUSTED = TRACKING | MODEL_FAULTS | {STOP_REQUESTED}
# These may come from a wrong model, whose setpoints are then not used to stop.
MODEL_DOUBTED = TRACKING | MODEL_FAULTS | {JUMPED}


class Fault(NamedTuple):
    """A fault, with the value that exceeded its limit.

    Attributes:
        reason: one of the constants of this module.
        joint: name of the joint, or other details; None if it concerns all.
        value: measured value.
        limit: largest value that is no fault.
        unit: unit of both; empty: they have no meaning.
    """

    reason: str
    joint: str | None
    value: float
    limit: float
    unit: str

    @property
    def is_measurement_trusted(self) -> bool:
        """Whether the measured joints still tell where the arm is."""
        return self.reason in TRUSTED

    def __str__(self) -> str:
        where = f": {self.joint}" if self.joint else ""
        if not self.unit:
            return f"{self.reason}{where}"
        return f"{self.reason}{where}: {self.value:.3g} {self.unit}, limit {self.limit:.3g}"


def joint_fault(
    reason: str, names: tuple[str, ...], values: Array, limits: Array | float, unit: str
) -> Fault | None:
    """Return the fault of the joint whose value exceeds its limit the most, None if none does.

    Args:
        reason: one of the constants of this module.
        names: names of the joints.
        values: (n,) measured values.
        limits: (n,) largest values that are no fault, or one for all.
        unit: unit of both.
    """
    if not np.count_nonzero(values > limits):
        return None
    limits = np.broadcast_to(limits, values.shape)
    j = int(np.argmax(values / limits))
    return Fault(reason, names[j], float(values[j]), float(limits[j]), unit)


@dataclass(frozen=True)
class MeasurementMonitorConfig(Validated):
    """Thresholds of the measurement monitor.

    Attributes:
        joint_state_timeout: time without a usable joint state that is a fault [s]; bus servos at
            50 Hz may miss three in a row.
        max_gap: time between two joint states after which an arm is not where its plan is [s].
        max_timer_step: longest time that counts between two calls [s]; more is a delay of this
            process, not of the arm.
        stamp_jump: disagreement of stamps and arrival that is a jump of a clock [s].
        stamp_jitter: error of the time between two stamps [s]; drivers stamp when they read.
        clock_drift: rate difference of the two clocks [-].
        simulated_time: whether stamps are simulated time, which may be slower than the clock and
            may start again at zero, with the arm at rest.
        position_jump: step of a position that neither velocity nor plan explains [rad]; it does
            not grow with the time between the joint states.
        frozen_count: identical joint states in a row that may be frozen.
        frozen_travel: planned travel during identical joint states that is a fault [rad].
        frozen_steps: the same, per smallest step of the encoder that was seen [-].
        servo_lag: time by which a position servo may follow its plan too late [s].
        rest_window: time over which the speed of an arm is measured [s].
        stall_window: time over which measured and planned travel are compared [s].
        stall_travel: planned travel in the window above which they are compared [rad]; dry
            friction holds a joint that starts slowly for up to 0.02 rad.
        servo_stall_travel: the same for position servos, which are softer [rad].
        servo_start_travel: planned travel of a joint [rad] that is a fault if no joint of an arm
            of position servos has moved 0.15 s later.
        stall_ratio: measured divided by planned travel below which a joint does not follow [-].
        servo_stall_ratio: the same for position servos, which catch up with their setpoints for a
            while [-].
        following_error: error of a position that is a fault with torques [rad]; pressing a block
            on a table takes up to 0.04 rad.
        servo_following_error: the same for position servos, beside their lag [rad].
        start_time: time after engaging in which a load that the model lacks shows [s].
        start_ratio: fraction of `following_error` that is a fault with torques in that time [-].
        error_horizon: time from now for which the error is extrapolated [s].
        velocity_error: error of a velocity that is a fault with torques, as a fraction of the
            rated velocity [-]: an unstable loop shows here first.
        model_error: difference between a torque of the model and that of the URDF that is a fault,
            as a fraction of the effort limit, beside a quarter of the latter [-]; the shipped
            models differ by up to 0.13.
        servo_model_error: distance of a setpoint from the plan that is a fault, beside the planned
            travel in 0.1 s [rad]; the shipped models need up to 0.03.
        overspeed: measured velocity that is a fault, as a fraction of the rated velocity [-].
        velocity_tolerance: difference between measured velocity and that of the positions, as a
            fraction of the rated velocity [-].
        contradiction_count: contradicting velocities in a row that are a fault.
    """

    joint_state_timeout: PositiveFloat = field(default=0.08, metadata=RECONFIGURABLE)
    max_gap: PositiveFloat = 0.1
    max_timer_step: PositiveFloat = 0.02
    stamp_jump: PositiveFloat = 0.25
    stamp_jitter: NonNegativeFloat = 1e-3
    clock_drift: FractionBelowOne = 0.01
    simulated_time: bool = False
    position_jump: PositiveFloat = field(default=0.03, metadata=RECONFIGURABLE)
    frozen_count: PositiveInt = 3
    frozen_travel: PositiveFloat = 0.004
    frozen_steps: NonNegativeFloat = 6.0
    servo_lag: NonNegativeFloat = 0.06
    rest_window: PositiveFloat = 0.1
    stall_window: PositiveFloat = 0.2
    stall_travel: PositiveFloat = 0.035
    servo_stall_travel: PositiveFloat = 0.045
    servo_start_travel: PositiveFloat = 0.013
    stall_ratio: Fraction = 0.25
    servo_stall_ratio: Fraction = 0.3
    following_error: PositiveFloat = field(default=0.05, metadata=RECONFIGURABLE)
    servo_following_error: PositiveFloat = field(default=0.08, metadata=RECONFIGURABLE)
    start_time: NonNegativeFloat = 0.5
    start_ratio: Fraction = 0.4
    error_horizon: NonNegativeFloat = 0.05
    velocity_error: PositiveFloat = field(default=0.15, metadata=RECONFIGURABLE)
    model_error: PositiveFloat = 0.25
    servo_model_error: PositiveFloat = 0.05
    overspeed: Annotated[float, Field(ge=1)] = field(default=1.05, metadata=RECONFIGURABLE)
    velocity_tolerance: PositiveFloat = 0.1
    contradiction_count: PositiveInt = 5


FAR = 1e3
ANY_ERROR = MeasurementMonitorConfig(  # for a simulated arm that follows a bad model on purpose
    joint_state_timeout=FAR,
    max_gap=FAR,
    position_jump=FAR,
    frozen_travel=FAR,
    stall_travel=FAR,
    servo_stall_travel=FAR,
    servo_start_travel=FAR,
    following_error=FAR,
    servo_following_error=FAR,
    velocity_error=FAR,
    model_error=FAR,
    servo_model_error=FAR,
    overspeed=FAR,
    velocity_tolerance=FAR,
)
