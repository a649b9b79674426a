"""Report of a teleoperation run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.person_errors import measured_errors, measured_lags, person_targets
from invdyn_ros.evaluation.run_metrics import (
    latencies,
    limit_violations,
    lost_frames,
    model_drifts,
    quantiles,
    safety_figures,
    tracking,
)
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retarget_errors import RetargetErrors, retarget_errors
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from invdyn_ros.control.fallback import Fallback
    from invdyn_ros.models.predictor import Predictor, Runtime

RATE_LIMITED = "person faster than the arm"


def teleop_report(
    recording: Recording, robot: Robot, unit: str, config: RetargetConfig
) -> dict[str, Any]:
    """Return the measured figures of a teleoperation run.

    `wrist_error_mm` and `limb_error_deg` compare the measured arm at the time of each image with
    the person in it, in all frames with a person, also while the arm holds or cannot reach;
    `after_lag` compares it at the time of the image plus the lag. `tracking_rms_rad` is the error
    against the plan at all times. `latency_ms` is from the stamp of an image to that of the
    command, `core_latency_ms` the same without the pose network.

    Args:
        recording: the run.
        robot: the arm.
        unit: unit of the actions.
        config: settings with which the person was followed.
    """
    latency = latencies(recording)
    detected = sum(points is not None for _, points in recording.landmarks)
    targets = person_targets(recording, robot, config)
    lags = measured_lags(recording, robot, targets)
    lag = lags["overall"]
    after_lag = measured_errors(recording, robot, targets, lag.seconds) if lag else None
    plan = tracking(robot, recording.joints, recording.desired)
    violations = limit_violations(robot, recording.joints, recording.desired, unit)
    return {
        "frames": len(recording.landmarks),
        # unknown for images from elsewhere
        "frames_lost": len(lost_frames(recording)) if recording.image_stamps else None,
        "detected": detected,
        **_error_quantiles(measured_errors(recording, robot, targets)),
        "lag_ms": {k: None if v is None else round(1e3 * v.seconds) for k, v in lags.items()},
        "lag_correlation": {
            k: None if v is None else round(v.correlation, 4) for k, v in lags.items()
        },
        "after_lag": None if after_lag is None else _error_quantiles(after_lag),
        **_calibration(recording),
        "tracking_rms_rad": {"inverse_dynamics": _rounded(plan.rms)},
        "tracking_max_rad": _rounded(plan.max),
        "plan_jumps": len(plan.jumps),
        "model_drift": model_drifts(recording),
        **safety_figures(recording, violations),
        "latency_ms": quantiles(latency.total),
        "core_latency_ms": quantiles(latency.without_pose),
        "stages_ms": {stage: quantiles(times) for stage, times in latency.stages.items()},
    }


def compare_desired_states(
    recording: Recording, robot: Robot, config: RetargetConfig
) -> dict[str, Any]:
    """Return how well the joint targets, not the measured arm, follow the filtered person.

    Errors are those of the frames in which the arm can follow; `including_rate_limited` adds the
    frames in which the person is faster than the limits of the arm. `unreachable` counts the
    other frames by reason.

    Args:
        recording: the run.
        robot: the arm.
        config: settings with which the person was followed.
    """
    followed, rate_limited, reasons = retargeting_errors(recording, robot, config)
    count = len(followed.wrist) + len(rate_limited.wrist)
    others = sum(reasons.values()) - reasons[RATE_LIMITED]
    return {
        **_error_quantiles(followed),
        "including_rate_limited": _error_quantiles(followed, rate_limited),
        "reachable": round(count / max(count + others, 1), 4),
        "unreachable": reasons,
    }


def tracking_errors(recording: Recording, robot: Robot, model: Runtime) -> dict[str, float | None]:
    """Return the RMS tracking errors [rad] of the same desired motion replayed in simulation.

    With the model of the run (`inverse_dynamics_replay`), with plain feedback (`pd`) and with the
    rigid-body dynamics of the URDF (`rigid_body`); None without motion.

    Args:
        recording: the run.
        robot: the arm.
        model: inverse dynamics model that drove the arm.
    """
    # slow to import: the measured figures must not wait for them
    from invdyn_ros.control.computed_torque import ConstantInertiaModel
    from invdyn_ros.control.fallback import fallback_from_metadata
    from invdyn_ros.evaluation.closed_loop import replay
    from invdyn_ros.models.mujoco_rigid_body import urdf_model

    unit = model.meta.action_unit
    errors: dict[str, float | None] = {}
    replays: dict[str, tuple[Predictor, float, Fallback | None]] = {
        "inverse_dynamics_replay": (
            model,
            model.meta.action_delay,
            fallback_from_metadata(model.meta),
        ),
        "pd": (ConstantInertiaModel(robot, unit), 0.0, None),
        "rigid_body": (urdf_model(robot, unit, model.meta.data), 0.0, None),
    }
    desired = recording.desired
    for name, (replayed, action_delay, fallback) in replays.items():
        errors[name] = None
        if len(desired.time) > 2:
            run = replay(robot, replayed, unit, action_delay, desired, fallback=fallback)
            errors[name] = run.rms
    return {name: _rounded(error) for name, error in errors.items()}


def retargeting_errors(
    recording: Recording, robot: Robot, config: RetargetConfig
) -> tuple[RetargetErrors, RetargetErrors, dict[str, int]]:
    """Return the errors of the joint targets against the person.

    The retargeter depends on the landmarks only, so that running it again gives its targets.

    Args:
        recording: the run.
        robot: the arm.
        config: settings with which the person was followed.

    Returns:
        Errors of the frames that the arm can follow; errors of those in which the person is
        faster than the limits of the arm; and the number of other frames by reason.
    """
    retargeter = Retargeter(robot, config)
    if len(recording.joints.time):
        retargeter.reset(recording.joints.q[0])
    followed: list[tuple[Array, ...]] = []
    rate_limited: list[tuple[Array, ...]] = []
    reasons: Counter[str] = Counter({RATE_LIMITED: 0})
    for time, landmarks in recording.landmarks:
        if time not in recording.targets:
            continue
        result = retargeter(landmarks, time)
        row = (
            recording.targets[time],
            result.hand_target,
            result.upper_arm_direction,
            result.forearm_direction,
        )
        if result.hold_reason or result.unreachable_reason:
            reasons[result.hold_reason or str(result.unreachable_reason)] += 1
        elif result.target_distance > config.tolerance:
            reasons[RATE_LIMITED] += 1
            rate_limited.append(row)
        else:
            followed.append(row)
    return _errors(robot, followed), _errors(robot, rate_limited), dict(reasons)


def _calibration(recording: Recording) -> dict[str, Any]:
    """Return what the gesture of the person has shown, nothing without one."""
    if recording.calibration is None:
        return {}
    calibration = recording.calibration
    neutral = [round(place, 3) for place in calibration.neutral]
    return {"hand_calibration": {"arm_length_m": round(calibration.length, 4), "neutral": neutral}}


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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _limbs(errors: RetargetErrors) -> Array:
    """Return the angle errors [deg] of both limbs; empty for an arm without such limbs."""
    parts = [part for part in (errors.upper_arm, errors.forearm) if part is not None]
    return np.concatenate(parts) if parts else np.empty(0)
