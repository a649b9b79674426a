"""The report of teleop: a Recording enters, plain numbers leave."""

from collections import Counter
from typing import Any

import numpy as np

from invdyn_ros.control.computed_torque import ConstantInertiaModel, InverseDynamicsModel
from invdyn_ros.control.fallback import Fallback, fallback_from_metadata
from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.closed_loop import replay
from invdyn_ros.evaluation.run_metrics import latencies, limit_violations, quantiles, tracking_rms
from invdyn_ros.models.rigid_body import urdf_model
from invdyn_ros.models.runtime import Runtime
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.retargeting import (
    RetargetConfig,
    Retargeter,
    RetargetErrors,
    retarget_errors,
)
from invdyn_ros.typing import Array

RATE_LIMITED = "person faster than the arm"


def teleop_report(
    recording: Recording, robot: Robot, model: Runtime, side: str, about: dict[str, Any]
) -> dict[str, Any]:
    """Return the report of teleop.

    Latencies are from image stamp to command stamp; `core` leaves the pose network out. Tracking
    is measured against what the guard wanted, for the model that drove live (`inverse_dynamics`), and for the
    same wanted motion replayed in simulation: once more with that model (`inverse_dynamics_replay`), with plain
    feedback (`pd`) and with the URDF's rigid-body dynamics (`rigid_body`). Wrist and limb errors
    are of the wanted joints against the person: in `wrist_error_mm` and `limb_error_deg` where the
    arm can be, in place and in speed; `including_rate_limited` adds the frames in which the person is faster
    than the arm may move. `unreachable` counts the other frames by reason.
    """
    latency = latencies(recording)
    detected = sum(points is not None for _, points in recording.landmarks)
    followed, late, reasons = retargeting_errors(recording, robot, side)
    count = len(followed.wrist) + len(late.wrist)
    return about | {
        "frames": len(recording.landmarks),
        "detected": detected,
        "latency_ms": quantiles(latency.total),
        "core_latency_ms": quantiles(latency.without_pose),
        "stages_ms": {stage: quantiles(times) for stage, times in latency.stages.items()},
        "tracking_rms_rad": tracking_errors(recording, robot, model),
        **_error_quantiles(followed),
        "including_rate_limited": _error_quantiles(followed, late),
        "reachable": round(
            count / max(count + sum(reasons.values()) - reasons[RATE_LIMITED], 1), 4
        ),
        "unreachable": reasons,
        "limit_violations": limit_violations(
            robot, recording.joints, recording.desired, model.meta.action_unit
        ),
        "hold_counts": recording.hold_counts,
    }


def tracking_errors(recording: Recording, robot: Robot, model: Runtime) -> dict[str, float | None]:
    """Return the RMS tracking errors [rad] of `teleop_report`; None where there is no motion."""
    unit = model.meta.action_unit
    errors = {"inverse_dynamics": tracking_rms(recording.joints, recording.desired)}
    others: dict[str, tuple[InverseDynamicsModel, float, Fallback | None]] = {
        "inverse_dynamics_replay": (
            model,
            model.meta.action_delay,
            fallback_from_metadata(model.meta),
        ),
        "pd": (ConstantInertiaModel(robot, unit), 0.0, None),
        "rigid_body": (urdf_model(robot, unit, model.meta.data), 0.0, None),
    }
    moved, wanted = len(recording.desired.time) > 2, recording.desired
    for name, (other, action_delay, fallback) in others.items():
        run = (
            replay(robot, other, unit, action_delay, wanted, fallback=fallback) if moved else None
        )
        errors[name] = run and run.rms
    return {name: None if e is None else round(e, 5) for name, e in errors.items()}


def retargeting_errors(
    recording: Recording, robot: Robot, side: str
) -> tuple[RetargetErrors, RetargetErrors, dict[str, int]]:
    """Return how far each joint_target is from the person.

    The retargeter is a function of the landmarks, so running it again gives what it aimed at.

    Returns:
        The errors of the frames that the arm can follow, of those where it lags because the person
        is faster than the arm's limits, and how many frames it does not follow, by reason.
    """
    config = RetargetConfig(side=side)  # type: ignore[arg-type]
    retargeter = Retargeter(robot, config)
    if len(recording.joints.time):
        retargeter.reset(recording.joints.q[0])
    followed: list[tuple[Array, ...]] = []
    late: list[tuple[Array, ...]] = []
    reasons: Counter[str] = Counter({RATE_LIMITED: 0})
    for time, landmarks in recording.landmarks:
        if time not in recording.targets:
            continue
        aim = retargeter(landmarks, time)
        row = (
            recording.targets[time],
            aim.hand_target,
            aim.upper_arm_direction,
            aim.forearm_direction,
        )
        if aim.hold_reason or aim.unreachable_reason:
            reasons[aim.hold_reason or str(aim.unreachable_reason)] += 1
        elif aim.target_distance > config.tolerance:
            reasons[RATE_LIMITED] += 1
            late.append(row)
        else:
            followed.append(row)
    return _errors(robot, followed), _errors(robot, late), dict(reasons)


def _errors(robot: Robot, rows: list[tuple[Array, ...]]) -> RetargetErrors:
    if not rows:
        return RetargetErrors(np.empty(0), None, None)
    return retarget_errors(robot, *(np.stack(part) for part in zip(*rows, strict=True)))


def _error_quantiles(*parts: RetargetErrors) -> dict[str, dict[str, float | None]]:
    limbs = np.concatenate([_limbs(errors) for errors in parts])
    wrist = np.concatenate([errors.wrist for errors in parts])
    return {
        "limb_error_deg": quantiles(limbs, (50, 95)),
        "wrist_error_mm": quantiles(wrist, (50, 95)),
    }


def _limbs(errors: RetargetErrors) -> Array:
    """Return the angles [deg] of both limbs; empty for an arm without."""
    parts = [part for part in (errors.upper_arm, errors.forearm) if part is not None]
    return np.concatenate(parts) if parts else np.empty(0)
