"""Resampling of recordings whose samples are not evenly spaced in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from invdyn_ros.data.trajectory import MAX_INTERVAL_DEVIATION, Trajectory
from invdyn_ros.typing import Array

Resampling = float | Literal["auto", "off"]
AUTO: Literal["auto"] = "auto"
OFF: Literal["off"] = "off"
MIN_GAP, GAP_INTERVALS = 0.1, 5.0  # [s] and median intervals, over which nothing is interpolated


class Resampled(NamedTuple):
    """Trajectories of a recording before and after resampling, in the same order.

    Attributes:
        recorded: with the stamps of the recording, from gap to gap.
        trajectories: the same ones with evenly spaced samples.
        too_short: samples between two gaps that are too few for the filter.
    """

    recorded: list[Trajectory]
    trajectories: list[Trajectory]
    too_short: int


def resample_recording(
    parts: Sequence[Trajectory], resample: Resampling, max_gap: float | None, window: int
) -> Resampled:
    """Return trajectories with evenly spaced samples and accelerations.

    Args:
        parts: recorded trajectories.
        resample: [Hz]; "auto": at the rate of the recording, where samples are not evenly spaced;
            "off": never, and without accelerations, which need even samples.
        max_gap: longest interval to interpolate [s]; None: the longest that is plausible.
        window: samples per Savitzky-Golay window; 0: without accelerations.

    Raises:
        ValueError: the rate is not positive, or too few samples are left.
    """
    if resample == OFF:
        return Resampled(list(parts), list(parts), 0)
    rate = recording_rate(parts) if resample == AUTO else float(resample)
    gap = max_gap or largest_interval(parts)
    recorded, trajectories, too_short = [], [], 0
    for part in parts:
        even = _has_rate(part, rate)
        for segment in [part] if even else part.segments(gap):
            result = segment if even or len(segment) < 2 else segment.resample(rate)
            if len(result) < max(window, 2):
                too_short += len(segment)
                continue
            recorded.append(segment)
            trajectories.append(result.differentiate(window) if window else result)
    if not trajectories:
        raise ValueError(
            f"no {window} samples at {rate:.6g} Hz without a gap of {gap:.3g} s; resample at a "
            "higher rate with --resample HZ, or bridge longer gaps with --max-gap"
        )
    return Resampled(recorded, trajectories, too_short)


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
