"""Validated joint trajectories with time stamps and actions, the common format of all sources."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.data.action_units import ACTION_UNITS
from invdyn_ros.typing import Array, Image, Mask

NO_FRAMES = np.empty((0, 0, 0, 3), np.uint8)
NO_POINTS = np.empty((0, 0, 2))
GUARDED_RUN = "guarded run"  # recording whose trajectories are parts of one motion
NO_VERB = 255  # class of a motion without narration
MAX_INTERVAL_DEVIATION = 0.02  # of a sample interval from the median, as a fraction of it


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Joint motion over time, with the action sent (or effort measured) at each time.

    Unknown quantities are absent: velocity, acceleration and action may have zero rows, and in a
    video also the position. The action of a video row is the change from the previous row to this
    one; it is zero in the first row.

    Attributes:
        time: (T,) stamps of the source [s], strictly increasing.
        position: (T, n), or (0, n) in a video [rad].
        velocity: (T, n) or (0, n) [rad/s].
        acceleration: (T, n) or (0, n) [rad/s^2].
        action: (T, n) or (0, n) [action_unit].
        joint_names: names of the n joints, in the order of the columns.
        action_unit: a key of `action_units.ACTION_UNITS`, such as "N m", "N m without gravity",
            "A" (motor current) or "rad" (servo setpoint).
        frames: (T, H, W, 3) RGB image of each time, or no images.
        recording: name of the recording that the trajectory is part of, as the stem of a file,
            "sim", or "video" and "participant/video" of images; "" if it has none.
        verb: class of the narrated verb, 0 to 254, or NO_VERB.
        points: (T, L, 2) positions of L keypoints in the image, x right and y down, as fractions
            of its size, possibly outside the image; or no points.
    """

    time: Array
    position: Array
    velocity: Array
    acceleration: Array
    action: Array
    joint_names: tuple[str, ...]
    action_unit: str
    frames: Image = field(default_factory=lambda: NO_FRAMES)
    recording: str = ""
    verb: int = NO_VERB
    points: Array = field(default_factory=lambda: NO_POINTS)

    def __post_init__(self) -> None:
        """Check shapes, unit, finite values and time.

        Raises:
            ValueError: one of them is wrong; the message names the row.
        """
        object.__setattr__(self, "joint_names", tuple(self.joint_names))
        for name in ("time", *_COLUMNS):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.action_unit not in ACTION_UNITS:
            raise ValueError(
                f"action unit is {self.action_unit!r}, not one of {', '.join(ACTION_UNITS)}"
            )
        if self.time.ndim != 1 or len(self.time) == 0:
            raise ValueError(f"time has shape {self.time.shape}; expected (T,) with T >= 1")
        for name in _COLUMNS:
            self._check_column(name)
        self._check_frames()
        steps = np.flatnonzero(~(np.diff(self.time) > 0))  # also true for NaN
        if not np.isfinite(self.time).all() or len(steps):
            row = int(steps[0]) + 1 if len(steps) else 0
            before = self.time[max(row - 1, 0)]
            raise ValueError(
                f"time must increase: row {row} has {self.time[row]} s after {before} s"
            )

    def _check_column(self, name: str) -> None:
        """Check the shape and the values of one column."""
        values, shape = getattr(self, name), (len(self.time), len(self.joint_names))
        if values.shape == (0, shape[1]) and (name != "position" or len(self.frames)):
            return
        if values.shape != shape:
            raise ValueError(
                f"{name} has shape {values.shape}; time and joint names require {shape}"
            )
        finite = np.isfinite(values)
        if not finite.all():
            rows, columns = np.nonzero(~finite)
            joint, value = self.joint_names[columns[0]], values[rows[0], columns[0]]
            raise ValueError(
                f"{name} of '{joint}' is {value} in row {rows[0]}; all values must be finite"
            )

    def _check_frames(self) -> None:
        """Check the images, their verb and their keypoints."""
        shape, rows = self.frames.shape, len(self.frames)
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
            raise ValueError(f"frames are {shape} {self.frames.dtype}, not (T, H, W, 3) uint8")
        if rows not in (0, len(self.time)):
            raise ValueError(f"there are {rows} frames for {len(self.time)} times")
        if not 0 <= self.verb <= NO_VERB:
            raise ValueError(f"verb class is {self.verb}; it must be 0 to {NO_VERB}")
        shape, count = self.points.shape, len(self.points)
        if len(shape) != 3 or shape[2] != 2 or count not in (0, rows):
            raise ValueError(f"points are {shape} of {rows} frames, not (T, L, 2) or none")
        if not np.isfinite(self.points).all():
            raise ValueError("a point is not finite; coordinates must be finite")

    def __len__(self) -> int:
        """Return the number of samples T."""
        return len(self.time)

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    @property
    def rate(self) -> float:
        """Sample rate [Hz], without gaps.

        Raises:
            ValueError: there is only one sample.
        """
        self._need_samples(2, "a rate")
        step = np.diff(self.time)
        # a mean, since stamps of 1.7e9 s have a resolution of 0.2 us
        return float(1.0 / step[step < 1.5 * np.median(step)].mean())

    @property
    def motion(self) -> Array:
        """Motion (T, 3 n) = [q, qd, qdd], the input of a model.

        Raises:
            ValueError: position, velocity or acceleration is absent.
        """
        if len(self.position) == 0:
            raise ValueError(
                "the trajectory is a video without motion; train a video model such as 'cnn'"
            )
        for name in ("velocity", "acceleration"):
            if len(getattr(self, name)) == 0:
                raise ValueError(f"the trajectory has no {name}; use differentiate() first")
        return np.concatenate([self.position, self.velocity, self.acceleration], axis=1)

    @property
    def pixels(self) -> Array:
        """Flattened image and verb of each time (T, 3 H W + 1), the input of a video model.

        Raises:
            ValueError: there are no images.
        """
        if len(self.frames) == 0:
            raise ValueError(
                "the trajectory has no images; collect some with 'invdyn collect video'"
            )
        verb = np.full((len(self), 1), self.verb, np.uint8)
        return np.concatenate([self.frames.reshape(len(self), -1), verb], axis=1)

    def __getitem__(self, rows: slice | Array | Mask | NDArray[np.intp]) -> Trajectory:
        """Return the trajectory of a selection of rows, in time order."""
        columns = {name: values[rows] for name in _COLUMNS if len(values := getattr(self, name))}
        frames = self.frames[rows] if len(self.frames) else self.frames
        points = self.points[rows] if len(self.points) else self.points
        return replace(self, time=self.time[rows], frames=frames, points=points, **columns)

    def interpolate(self, time: Array) -> Trajectory:
        """Interpolate the trajectory at times (K,) [s] within its span; images are left out.

        Motion is interpolated by a cubic spline, the action linearly, since a spline would
        overshoot at a step of the command.

        Raises:
            ValueError: a time is outside the trajectory.
        """
        time = np.asarray(time, dtype=np.float64)
        if len(time) and (time[0] < self.time[0] or time[-1] > self.time[-1]):
            span = f"{self.time[0]}..{self.time[-1]} s"
            raise ValueError(f"times {time[0]}..{time[-1]} s are outside the trajectory, {span}")
        columns: dict[str, Any] = {
            name: _spline(self.time, values, time, degree=1 if name == "action" else 3)
            for name in _COLUMNS
            if len(values := getattr(self, name))
        }
        return replace(self, time=time, frames=NO_FRAMES, points=NO_POINTS, **columns)

    def resample(self, rate: float) -> Trajectory:
        """Resample the trajectory on a uniform grid of `rate` [Hz] from its first sample on.

        Raises:
            ValueError: the rate is not positive.
        """
        if not rate > 0:
            raise ValueError(f"rate is {rate} Hz; it must be positive")
        # the tolerance keeps the last sample when the span is a whole number of intervals
        count = int(np.floor((self.time[-1] - self.time[0]) * rate + 1e-6)) + 1
        return self.interpolate(np.minimum(self.time[0] + np.arange(count) / rate, self.time[-1]))

    def shift(self, action_delay: float) -> Trajectory:
        """Pair the action of each time t with the motion at t + action_delay [s].

        Rows whose motion would lie outside the trajectory are left out.

        Raises:
            ValueError: the delay is longer than the trajectory.
        """
        if action_delay == 0:
            return self
        inside = (self.time + action_delay >= self.time[0]) & (
            self.time + action_delay <= self.time[-1]
        )
        if not inside.any():
            raise ValueError(
                f"action_delay is {action_delay} s; the trajectory lasts only "
                f"{self.time[-1] - self.time[0]} s"
            )
        selected = self[inside]
        motion = replace(self, action=self.action[:0]).interpolate(selected.time + action_delay)
        return replace(motion, time=selected.time, action=selected.action)

    def negated(self) -> Trajectory:
        """Return the trajectory with the opposite sign of its actions."""
        return replace(self, action=-self.action)

    def differentiate(self, window: int = 13, order: int = 3) -> Trajectory:
        """Add the acceleration, and the velocity where absent, with a Savitzky-Golay filter.

        The filter (doi 10.1021/ac60214a047) fits a polynomial to `window` samples around each
        sample and has no delay; at the ends the windows are one-sided.

        Args:
            window: number of samples, odd.
            order: degree of the polynomial, less than `window`.

        Raises:
            ValueError: window or order is invalid, or the sample intervals vary.
        """
        if window % 2 == 0 or not 2 <= order < window:
            raise ValueError(
                f"window {window}, order {order}; the window must be odd and above order >= 2"
            )
        self._need_samples(window, f"a window of {window}")
        step = np.diff(self.time)
        if np.abs(step / np.median(step) - 1).max() > MAX_INTERVAL_DEVIATION:
            raise ValueError(
                f"samples are {step.min():.6f}..{step.max():.6f} s apart; they have to be evenly "
                "spaced: collect them with --resample HZ"
            )
        from scipy.signal import savgol_filter  # slow to import; most nodes need none

        signal, derivative = (self.velocity, 1) if len(self.velocity) else (self.position, 2)
        filter_options = {
            "window_length": window,
            "polyorder": order,
            "delta": float(np.mean(step)),
            "axis": 0,
        }
        velocity = (
            self.velocity
            if len(self.velocity)
            else savgol_filter(self.position, deriv=1, **filter_options)
        )
        return replace(
            self,
            velocity=velocity,
            acceleration=savgol_filter(signal, deriv=derivative, **filter_options),
        )

    def segments(self, gap: float) -> list[Trajectory]:
        """Split the trajectory wherever two samples are more than `gap` [s] apart."""
        cuts = [0, *(np.flatnonzero(np.diff(self.time) > gap) + 1), len(self)]
        return [self[slice(a, b)] for a, b in pairwise(cuts)]

    def _need_samples(self, count: int, purpose: str) -> None:
        if len(self) < count:
            raise ValueError(
                f"{len(self)} samples are too few for {purpose}; at least {count} are needed"
            )


_COLUMNS = ("position", "velocity", "acceleration", "action")


def _spline(time: Array, values: Array, at: Array, degree: int) -> Array:
    """Interpolate values (T, n) by a spline whose degree is limited by the number of samples."""
    degree = min(degree, len(time) - 1)
    if degree < 2:
        return np.stack([np.interp(at, time, column) for column in values.T], axis=1)
    from scipy.interpolate import make_interp_spline  # slow to import; most nodes need none

    return np.asarray(make_interp_spline(time, values, k=degree)(at))
