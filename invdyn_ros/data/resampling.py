"""Resampling of recordings whose samples are not evenly spaced in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from invdyn_ros.data.trajectory import MAX_INTERVAL_DEVIATION, Trajectory
from invdyn_ros.typing import Array

Resampling = float | Literal["auto", "off"]
AUTO, OFF = "auto", "off"
MIN_GAP, GAP_INTERVALS = 0.1, 5.0  # [s] and median intervals, over which nothing is interpolated


def resample_parts(
    parts: Sequence[Trajectory], resample: Resampling, rate: float
) -> list[Trajectory]:
    """Return trajectories with evenly spaced samples.

    Args:
        parts: recorded trajectories.
        resample: [Hz]; "auto": at `rate`, where samples are not evenly spaced; "off": never.
        rate: that of the recording [Hz].

    Raises:
        ValueError: the rate is not positive.
    """
    if resample == OFF:
        return list(parts)
    requested = rate if resample == AUTO else float(resample)
    return [part if _has_rate(part, requested) else part.resample(requested) for part in parts]


def recording_rate(parts: Sequence[Trajectory]) -> float:
    """Return the sample rate of all trajectories of a recording, without gaps [Hz].

    Raises:
        ValueError: no trajectory has two samples.
    """
    steps = np.concatenate([np.diff(part.time) for part in parts])
    if not len(steps):
        raise ValueError("one sample has no rate; at least two are needed")
    # a mean, since stamps of 1.7e9 s have a resolution of 0.2 us
    return float(1.0 / steps[steps < 1.5 * np.median(steps)].mean())


def is_even(time: Array) -> bool:
    """Return whether samples at times (T,) [s] are evenly spaced."""
    steps = np.diff(time)
    return not len(steps) or bool(
        np.abs(steps / np.median(steps) - 1).max() <= MAX_INTERVAL_DEVIATION
    )


def largest_interval(parts: Sequence[Trajectory]) -> float:
    """Return the largest interval [s] that is no gap, which no interpolation should bridge."""
    return max(MIN_GAP, GAP_INTERVALS / recording_rate(parts))


def resampling_note(recorded: Sequence[Trajectory], parts: Sequence[Trajectory]) -> str:
    """Return in one line how trajectories were resampled, and what was lost.

    The loss is the difference at the stamps of the recording, where the resampled trajectories
    are interpolated once more.

    Args:
        recorded: trajectories with the stamps of the recording.
        parts: the same ones after resampling.
    """
    losses = []
    units = {"position": "rad", "velocity": "rad/s", "action": parts[0].action_unit}
    for name, unit in units.items():
        errors = []
        for before, after in zip(recorded, parts, strict=True):
            if not len(getattr(before, name)):
                continue
            inside = before.time <= after.time[-1]
            again = after.interpolate(before.time[inside])
            errors.append(getattr(again, name) - getattr(before, name)[inside])
        if errors:
            rms = np.sqrt((np.concatenate(errors) ** 2).mean(0)).max()
            losses.append(f"{rms:.2g} {unit} of {name}")
    rate = f"{recording_rate(parts):.6g} Hz"
    return (
        f"resampled at {rate}, motion by cubic splines and actions linearly; interpolated back, "
        f"{', '.join(losses)} are lost (RMS of the worst joint)"
    )


def _has_rate(part: Trajectory, rate: float) -> bool:
    if not rate > 0:
        raise ValueError(f"resampling at {rate} Hz is not possible; give --resample HZ above 0")
    deviation = np.abs(np.diff(part.time) * rate - 1)
    return bool(deviation.max(initial=0.0) < MAX_INTERVAL_DEVIATION)
