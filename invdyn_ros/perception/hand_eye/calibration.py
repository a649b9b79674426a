"""A whole calibration: rests of the arm enter; the camera's pose, checked and judged, leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.perception.hand_eye.camera_pose import CameraPose
from invdyn_ros.perception.hand_eye.least_squares import Fit, fit, held_out, predict
from invdyn_ros.perception.hand_eye.pose_diversity import PoseDiversity
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting, Pairs, difference

LEAST_AGREEING = 0.6  # share of the poses that must agree with each other
WRONG = (0.03, np.radians(10))  # a residual that is no noise, RMS [m], [rad]
DIGITS = 8  # in the file
PLACES: dict[Mounting, str] = {
    "beside": "beside the arm and the marker fixed to the tool",
    "hand": "on the hand and the marker fixed to the ground",
}


class Calibration(NamedTuple):
    """A camera's pose and what speaks for it.

    Attributes:
        fit: the solution.
        residual: (N, 6) of every pose [m, rad], those that were left out too.
        held_out: (n, 6) of the n used ones, each from a fit without it [m, rad].
        excitation: how the used poses turn the tool.
    """

    fit: Fit
    residual: np.ndarray
    held_out: np.ndarray
    excitation: PoseDiversity


def calibrate(pairs: Pairs, mounting: Mounting) -> Calibration:
    """Find where the camera stands.

    Raises:
        ValueError: too few poses, they turn about one axis only, or they contradict each other.
    """
    PoseDiversity.of(pairs.arm).check()
    found = fit(pairs, mounting)
    wanted = predict(found.X, pairs.motion(mounting), found.Y)
    residual = difference(pairs.marker, wanted)
    distance, angle = rms(residual[found.used])
    if found.used.mean() < LEAST_AGREEING or distance > WRONG[0] or angle > WRONG[1]:
        raise ValueError(
            f"{found.used.sum()} of {len(pairs)} poses agree, to {1e3 * distance:.0f} mm and "
            f"{np.degrees(angle):.0f} deg; is the camera {PLACES[mounting]}, and the arm's name "
            "right?"
        )
    used = pairs[found.used]
    excitation = PoseDiversity.of(used.arm)
    excitation.check()
    return Calibration(found, residual, held_out(used, mounting), excitation)


def sizes(residual: np.ndarray) -> np.ndarray:
    """Return distance [m] and angle [rad], (N, 2), of residuals (N, 6)."""
    return np.linalg.norm(residual.reshape(-1, 2, 3), axis=2)


def rms(residual: np.ndarray) -> tuple[float, float]:
    """Return the RMS distance [m] and angle [rad] of residuals (N, 6)."""
    distance, angle = np.sqrt((sizes(residual) ** 2).mean(axis=0))
    return float(distance), float(angle)


def camera_pose(made: Calibration, arm: str, mounting: Mounting) -> CameraPose:
    """Return what the calibration file says."""
    X, Y = made.fit.X, made.fit.Y
    places = [tuple(T[:3, 3].round(DIGITS).tolist()) for T in (X, Y)]
    turns = [Rotation.from_matrix(T[:3, :3]).as_quat().round(DIGITS).tolist() for T in (X, Y)]
    error = np.sqrt(np.diag(made.fit.covariance)).round(DIGITS)
    distance, angle = rms(made.held_out)
    return CameraPose(
        arm,
        mounting,
        places[0],
        tuple(turns[0]),
        tuple(error.tolist()),
        places[1],
        tuple(turns[1]),
        int(made.fit.used.sum()),
        (round(distance, DIGITS), round(angle, DIGITS)),
    )
