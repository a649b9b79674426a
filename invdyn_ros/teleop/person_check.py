"""Decides from landmarks whether there is a person to follow, and whether it is the same one.

Pose networks report 33 landmarks for a hand, a chair or a pair of legs, too, and go from one
person to another without a word. A real person has limbs of human length, which change little
from image to image, and moves continuously. The ranges below contain those that MediaPipe
estimates for adults and children standing, sitting, turned, tilted and partly outside the image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.teleop.arm_directions import ARM_LANDMARKS
from invdyn_ros.teleop.operator_lock import Appearance, OperatorLock

PERSON_HOLD_REASONS = (
    "no person",
    "low visibility",
    "torso not seen",
    "implausible person",
    "another person",
    "not the operator",
    "new person",
    "landmarks frozen",
)
TORSO_LANDMARKS = [11, 12, 23, 24]
"""Landmark indices of left and right shoulder, left and right hip."""
TORSO_LENGTHS = {"shoulders": (0.22, 0.55), "hips": (0.12, 0.45), "torso": (0.3, 0.75)}
"""Plausible widths of shoulders and hips, and distance between their centres [m]."""
MAX_ROLL = np.radians(60)
"""Largest plausible angle of the torso from upright in the image [rad]."""
ARM_LENGTHS = (0.14, 0.45)
"""Plausible length of an upper arm and of a forearm [m]."""
ARM_RATIO = 1.75
"""Largest plausible ratio of upper arm and forearm, either way."""
CONFIRMATION_TIME = 0.5
"""Time for which a new person must be plausible before being followed [s]."""
FROZEN_TIME = 0.2
"""Time for which landmarks may be identical [s]; no camera gives the same noise twice."""


class Change(NamedTuple):
    """Largest plausible change between two images: an error of the estimate plus a motion."""

    error: float
    speed: float  # [1/s]

    def allows(self, change: float, dt: float) -> bool:
        """Return whether a change is plausible within `dt` [s]."""
        return change <= self.error + self.speed * dt


POSITION_CHANGE = Change(0.1, 2.0)
"""Of the torso's centre across the line of sight [m]."""
SCALE_CHANGE = Change(0.1, 1.0)
"""Of the logarithm of the person's size in the image."""
TORSO_CHANGE = Change(0.1, 2.5)
"""Of a shoulder or hip with respect to the centre of the hips [m]."""
ARM_CHANGE = Change(0.15, 1.5)
"""Of the logarithm of a length of the followed arm."""


class _Sighting(NamedTuple):
    """What identifies a person in one image."""

    time: float
    torso: np.ndarray  # (4, 3) [m]
    arm: np.ndarray  # (2,) logarithms of the lengths of upper arm and forearm; NaN if not visible
    centre: np.ndarray | None  # (2,) torso in the image, in image heights
    scale: float  # [image heights per m]

    def appearance(self) -> Appearance:
        """Return place and proportions."""
        shoulders, hips = self.torso[:2], self.torso[2:]
        lengths = (
            np.linalg.norm(shoulders[0] - shoulders[1]),
            np.linalg.norm(shoulders.mean(axis=0) - hips.mean(axis=0)),
        )
        centre = np.full(2, np.nan) if self.centre is None else self.centre
        return Appearance(centre, float(np.log(self.scale)), np.log(np.maximum(lengths, 1e-6)))


class PersonCheck:
    """Why the person in successive images cannot be followed, if so.

    Both shoulders and hips must have been visible since the person appeared, so that a part of a
    body is not followed. A person who was lost for longer than `max_gap` counts as a new one, and
    a new one is followed after having been plausible for `CONFIRMATION_TIME`, if it is the
    operator: the first one who was followed.
    """

    def __init__(self, side: str, min_visibility: float, max_gap: float) -> None:
        """Create a check without a person.

        Args:
            side: arm to follow, "left" or "right".
            min_visibility: visibility from which a landmark counts as visible, 0..1.
            max_gap: time for which a person may be lost [s].
        """
        self._arm = list(ARM_LANDMARKS[side])
        self.operator = OperatorLock()
        self._min_visibility, self._max_gap = min_visibility, max_gap
        self.reset()

    def reset(self) -> None:
        """Forget the person, also as the operator."""
        self.operator.reset()
        self._last: _Sighting | None = None
        self._torso_seen = False
        self._plausible_since: float | None = None  # [s]; None if the last image was not
        self._confirmed = False
        self._followable_time = -np.inf  # [s] last image in which nothing was wrong
        self._landmarks: np.ndarray | None = None
        self._changed_time = -np.inf  # [s] first image with these landmarks

    def update(self, landmarks: np.ndarray | None, time: float) -> str | None:
        """Return why the arm must hold, None if the person is to be followed.

        Args:
            landmarks: (33, 4) x, y, z [m] and visibility, and (33, 6) with the position in the
                image [image heights], without which a person is identified by shape only; None
                without a person.
            time: stamp of the image [s], later than the previous one.
        """
        if self._last is not None and time - self._last.time > self._max_gap:
            self._last, self._torso_seen = None, False
        reason = self._problem(landmarks, time)
        if time - self._followable_time > self._max_gap:
            self._confirmed = False
        if reason is not None:
            self._plausible_since = None
            return reason
        self._followable_time = time
        if self._plausible_since is None:
            self._plausible_since = time
        self._confirmed |= time - self._plausible_since >= CONFIRMATION_TIME - 1e-6
        if not self._confirmed:
            return "new person"
        if self._last is not None:
            self.operator.follow(self._last.appearance(), time)
        return None

    def _problem(self, landmarks: np.ndarray | None, time: float) -> str | None:
        """Return what is wrong with the landmarks, None if nothing is."""
        if landmarks is None:
            return "no person"
        if self._frozen(landmarks, time):
            return "landmarks frozen"
        arm, torso = landmarks[self._arm], landmarks[TORSO_LANDMARKS]
        arm_visible = np.isfinite(arm).all() and arm[:, 3].min() >= self._min_visibility
        if not np.isfinite(torso).all():
            return "implausible person"
        sighting = _sighting(landmarks, self._arm if arm_visible else [], time)
        if not _plausible_torso(sighting.torso):
            return "implausible person" if arm_visible else "low visibility"
        last, self._last = self._last, sighting
        if last is not None and not _same_person(last, sighting):
            self._torso_seen = self._confirmed = False
            return "another person"
        self._torso_seen |= bool(torso[:, 3].min() >= self._min_visibility)
        if not arm_visible:
            return "low visibility"
        if not self._torso_seen:
            return "torso not seen"
        if not _plausible_arm(sighting.arm):
            return "implausible person"
        if not self._confirmed and not self.operator.allows(sighting.appearance()):
            return "not the operator"
        if last is None or np.isnan(last.arm).any():
            return None
        change = float(np.abs(sighting.arm - last.arm).max())
        return None if ARM_CHANGE.allows(change, time - last.time) else "implausible person"

    def _frozen(self, landmarks: np.ndarray, time: float) -> bool:
        if self._landmarks is None or not np.array_equal(landmarks, self._landmarks):
            self._landmarks, self._changed_time = landmarks.copy(), time
        return time - self._changed_time >= FROZEN_TIME


def _sighting(landmarks: np.ndarray, arm: list[int], time: float) -> _Sighting:
    """Return what identifies a person.

    Args:
        landmarks: (33, 4) or (33, 6).
        arm: indices of shoulder, elbow and wrist; empty if the arm is not visible.
        time: stamp of the image [s].
    """
    torso, logarithms = landmarks[TORSO_LANDMARKS, :3], np.full(2, np.nan)
    if arm:
        lengths = np.linalg.norm(np.diff(landmarks[arm, :3], axis=0), axis=1)
        logarithms = np.log(np.maximum(lengths, 1e-6))
    if landmarks.shape[1] < 6:
        return _Sighting(time, torso, logarithms, None, 1.0)
    image = landmarks[TORSO_LANDMARKS, 4:6]  # (4, 2)
    centre = image.mean(axis=0)
    # weak perspective: y and z of the hip frame are parallel to the image
    size = float(np.linalg.norm(torso[:, 1:] - torso[:, 1:].mean(axis=0)))
    scale = float(np.linalg.norm(image - centre) / max(size, 1e-6))
    return _Sighting(time, torso, logarithms, centre, max(scale, 1e-6))


def _plausible_torso(torso: np.ndarray) -> bool:
    """Return whether shoulders and hips (4, 3) [m] are upright and have human distances."""
    shoulders, hips = torso[:2], torso[2:]
    spine = shoulders.mean(axis=0) - hips.mean(axis=0)
    lengths = {
        "shoulders": np.linalg.norm(shoulders[0] - shoulders[1]),
        "hips": np.linalg.norm(hips[0] - hips[1]),
        "torso": np.linalg.norm(spine),
    }  # NaN fails the comparison
    upright = abs(np.arctan2(spine[1], spine[2])) <= MAX_ROLL
    return bool(upright) and all(
        low <= lengths[name] <= high for name, (low, high) in TORSO_LENGTHS.items()
    )


def _plausible_arm(logarithms: np.ndarray) -> bool:
    """Return whether upper arm and forearm, given as logarithms (2,), have human lengths."""
    low, high = np.log(ARM_LENGTHS)
    in_range = ((logarithms >= low) & (logarithms <= high)).all()
    return bool(in_range and np.ptp(logarithms) <= np.log(ARM_RATIO))


def _same_person(last: _Sighting, now: _Sighting) -> bool:
    """Return whether a person can have moved from one sighting to the next."""
    dt = now.time - last.time
    if not TORSO_CHANGE.allows(float(np.linalg.norm(now.torso - last.torso, axis=1).max()), dt):
        return False
    if now.centre is None or last.centre is None:
        return True
    moved = float(np.linalg.norm(now.centre - last.centre)) / min(now.scale, last.scale)
    resized = abs(float(np.log(now.scale / last.scale)))
    return POSITION_CHANGE.allows(moved, dt) and SCALE_CHANGE.allows(resized, dt)
