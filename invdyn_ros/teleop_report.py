"""The report of teleop: a Recording enters, plain numbers leave."""

from typing import Any

import numpy as np

from invdyn_ros.control.follower import Model, PlainFeedback
from invdyn_ros.models import InverseDynamics
from invdyn_ros.recording import Recording
from invdyn_ros.replay import replay
from invdyn_ros.report import latencies, limit_violations, quantiles, tracking_rms
from invdyn_ros.retarget import RetargetConfig, Retargeter, RetargetErrors, retarget_errors
from invdyn_ros.robot import Robot
from invdyn_ros.sources.simulation import urdf_model


def teleop_report(
    recording: Recording, robot: Robot, model: InverseDynamics, side: str, about: dict[str, Any]
) -> dict[str, Any]:
    """Return the report of teleop.

    Latencies are from image stamp to command stamp; `core` leaves the pose network out. Tracking
    is measured against what the guard wanted, for the model that drove live (`idm`), and for the
    same wanted motion replayed in simulation: once more with that model (`idm_replay`), with plain
    feedback (`pd`) and with the URDF's rigid-body dynamics (`rigid_body`). Wrist and limb errors
    are of the wanted joints against the person, where the arm can reach.
    """
    whole, core = latencies(recording)
    detected = sum(points is not None for _, points in recording.landmarks)
    unit, lead = model.meta.action_unit, model.meta.lead
    live = tracking_rms(recording.joints, recording.wanted)
    tracking: dict[str, float | None] = {"idm": live}
    others: dict[str, tuple[Model, float]] = {
        "idm_replay": (model, lead),
        "pd": (PlainFeedback(robot, unit), 0.0),
        "rigid_body": (urdf_model(robot, unit, model.meta.data), 0.0),
    }
    for name, (other, other_lead) in others.items():
        if len(recording.wanted.time) > 2:
            tracking[name] = replay(robot, other, unit, other_lead, recording.wanted)
        else:
            tracking[name] = None
    errors, reasons = follow_errors(recording, robot, side)
    limbs = [e for e in (errors.upper, errors.fore) if e is not None]
    followed = ~np.isnan(errors.wrist)
    return about | {
        "frames": len(recording.landmarks),
        "detected": detected,
        "latency_ms": quantiles(whole),
        "core_latency_ms": quantiles(core),
        "tracking_rms_rad": {k: None if v is None else round(v, 5) for k, v in tracking.items()},
        "limb_error_deg": quantiles(np.concatenate(limbs)[np.tile(followed, len(limbs))], (50, 95))
        if limbs
        else None,
        "wrist_error_mm": quantiles(errors.wrist[followed], (50, 95)),
        "reachable": round(float(followed.mean()), 4) if len(followed) else None,
        "unreachable": reasons,
        "limit_violations": limit_violations(robot, recording.joints, recording.wanted, unit),
        "holds": recording.holds,
    }


def follow_errors(
    recording: Recording, robot: Robot, side: str
) -> tuple[RetargetErrors, dict[str, int]]:
    """Return how far each joint_target is from the person, NaN where the arm cannot reach.

    The retargeter is a function of the landmarks, so running it again gives what it aimed at.
    """
    retargeter = Retargeter(robot, RetargetConfig(side=side))  # type: ignore[arg-type]
    if len(recording.joints.time):
        retargeter.reset(recording.joints.q[0])
    rows = []
    reasons: dict[str, int] = {}
    for time, landmarks in recording.landmarks:
        if time not in recording.targets:
            continue
        aim = retargeter(landmarks, time)
        reason = aim.hold or aim.unreachable
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
        target = aim.hand_target if reason is None else np.full(3, np.nan)
        rows.append((recording.targets[time], target, aim.upper_dir, aim.fore_dir))
    if not rows:
        return RetargetErrors(np.empty(0), None, None), reasons
    q, hands, upper, fore = (np.stack(part) for part in zip(*rows, strict=True))
    return retarget_errors(robot, q, hands, upper, fore), reasons
