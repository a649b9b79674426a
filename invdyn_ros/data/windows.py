"""Training windows, and train/test splits by trajectory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.action_units import conversion_remedy
from invdyn_ros.data.leakage import check_no_leakage
from invdyn_ros.data.trajectory import GUARDED_RUN, Trajectory
from invdyn_ros.typing import Array

MIN_GROUPS = 3  # fewer groups than this are split in time
InputType = Literal["motion", "pixels"]  # input of a model


class Windows(NamedTuple):
    """N windows of T consecutive samples of n joints, each within one trajectory."""

    motion: Tensor  # (N, T, 3 n) [q rad, qd rad/s, qdd rad/s^2], or uint8 pixels of videos
    time: Tensor  # (N, T) [s], 0 at the last sample of each window
    action: Tensor  # (N, T, n) in the action unit, or (N, T, n + 2 L) with the keypoints of videos

    @property
    def size(self) -> int:
        """Number of windows N."""
        return len(self.motion)

    def rows(self, index: Tensor | slice) -> Windows:
        """Return a selection of the windows."""
        return Windows(*(values[index] for values in self))

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Windows:
        """Return the windows on a device, converted to a floating type."""
        return Windows(*(values.to(device=device, dtype=dtype) for values in self))


class Split(NamedTuple):
    """Disjoint training and test data."""

    group_by: str
    """Unit of the split: "participant", "video" or "trajectory"; "time" where each trajectory is
    divided; "recording" where they are named; "none" where nothing is held out; "dataset" where
    the training data are another dataset."""
    train: list[Trajectory]
    test: list[Trajectory]


def split(trajectories: Sequence[Trajectory], fraction: float = 0.2, seed: int = 0) -> Split:
    """Hold out a fraction of the trajectories for testing.

    Videos are held out by participant if known, else by video. With fewer than MIN_GROUPS videos,
    or a single trajectory, the last part in time is held out. The split is never by row, because
    neighbouring samples are almost equal: a test row would be almost equal to a training row.

    Args:
        trajectories: data to split.
        fraction: fraction to hold out.
        seed: seed of the random selection.

    Raises:
        ValueError: there is nothing to split, or rows occur in both parts.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"test fraction is {fraction}; it must be between 0 and 1")
    if not trajectories:
        raise ValueError("no trajectories to split; the dataset is empty")
    by, groups = _groups(trajectories)
    if by == "time":
        train, test = _split_in_time(trajectories, fraction)
    else:
        names = list(dict.fromkeys(groups))
        order = np.random.default_rng(seed).permutation(len(names))
        count = min(max(round(fraction * len(order)), 1), len(order) - 1)
        chosen = {names[k] for k in order[:count]}
        pairs = list(zip(trajectories, groups, strict=True))
        train = [t for t, group in pairs if group not in chosen]
        test = [t for t, group in pairs if group in chosen]
    check_no_leakage(train, test)
    return Split(by, train, test)


def split_by_recording(
    trajectories: Sequence[Trajectory], train: Sequence[str], test: Sequence[str]
) -> Split:
    """Divide whole recordings into training and test data.

    Args:
        trajectories: data to split.
        train: names of recordings to train on; empty: all but those to test on.
        test: names of recordings to test on; empty: all but those to train on.

    Raises:
        ValueError: an unknown name, one in both lists, no recording for one of the parts, or rows
            that occur in both parts.
    """
    names = sorted({t.recording for t in trajectories} - {""})
    if not names:
        raise ValueError("the recordings of this dataset have no names; collect it again")
    for name in (*train, *test):
        if name not in names:
            raise ValueError(f"no recording '{name}'; the dataset has {', '.join(names)}")
    if both := set(train) & set(test):
        raise ValueError(f"recording '{min(both)}' is for training and for testing; choose one")
    chosen = [set(train) or set(names) - set(test), set(test) or set(names) - set(train)]
    parts = [[t for t in trajectories if t.recording in part] for part in chosen]
    for part, purpose in zip(parts, ("train", "test"), strict=True):
        if not part:
            raise ValueError(f"no recording is left to {purpose} on; there are {', '.join(names)}")
    check_no_leakage(*parts)
    return Split("recording", *parts)


def windows(
    trajectories: Sequence[Trajectory],
    window_size: int = 1,
    action_delay: float = 0.0,
    dtype: torch.dtype = torch.float64,
    input_type: InputType = "motion",
    stride: int = 1,
) -> Windows:
    """Cut trajectories into windows of `window_size` consecutive samples.

    Args:
        trajectories: trajectories with velocity, acceleration and action, and with the same joints
            and unit.
        window_size: samples per window; shorter trajectories are left out.
        action_delay: time [s] from an action to the motion that it is paired with.
        dtype: floating type of the tensors; pixels remain uint8.
        input_type: "motion", or "pixels" of videos.
        stride: samples between the starts of two windows; the last window of a trajectory always
            ends at its end.

    Raises:
        ValueError: units or joints differ, an action is absent, or no trajectory is long enough.
    """
    check_compatible(trajectories)
    if any(len(trajectory.action) == 0 for trajectory in trajectories):
        raise ValueError("a trajectory has no action; training needs labelled data")
    shifted = (
        t.shift(action_delay) for t in trajectories if t.time[-1] - t.time[0] >= abs(action_delay)
    )
    blocks = [
        _cut_windows(trajectory, window_size, input_type, stride)
        for trajectory in shifted
        if len(trajectory) >= window_size
    ]
    if not blocks:
        longest = max((len(t) for t in trajectories), default=0)
        raise ValueError(
            f"no trajectory holds {window_size} samples and an action delay of {action_delay} s; "
            f"the longest has {longest} samples"
        )
    motion, *targets = (np.concatenate(column) for column in zip(*blocks, strict=True))
    motion_type = torch.uint8 if input_type == "pixels" else dtype
    columns = (torch.as_tensor(column, dtype=dtype) for column in targets)
    return Windows(torch.as_tensor(motion, dtype=motion_type), *columns)


def whole_trajectories(
    trajectories: Sequence[Trajectory],
    action_delay: float = 0.0,
    dtype: torch.dtype = torch.float64,
    input_type: InputType = "motion",
) -> Iterator[Windows]:
    """Yield each trajectory as a single window.

    Args:
        trajectories: labelled trajectories; those shorter than the action delay are left out.
        action_delay: time from an action to the motion that it causes [s].
        dtype: floating-point type of the tensors.
        input_type: what the windows hold: motion or pixels.
    """
    for trajectory in trajectories:
        if trajectory.time[-1] - trajectory.time[0] >= abs(action_delay):
            shifted = trajectory.shift(action_delay)
            yield windows([shifted], len(shifted), dtype=dtype, input_type=input_type)


def _cut_windows(
    trajectory: Trajectory, window_size: int, input_type: InputType, stride: int
) -> tuple[Array, Array, Array]:
    """Return the arrays of `Windows` for one trajectory."""
    last = len(trajectory) - window_size
    starts = np.append(np.arange(0, last, stride), last)
    index = starts[:, None] + np.arange(window_size)  # (N, T)
    time = trajectory.time[index] - trajectory.time[index[:, -1:]]
    labels = trajectory.action
    if input_type == "pixels" and len(trajectory.points):
        labels = np.hstack([labels, trajectory.points.reshape(len(trajectory), -1)])
    return getattr(trajectory, input_type)[index], time, labels[index]


def check_compatible(trajectories: Sequence[Trajectory]) -> None:
    """Check that all trajectories have the same joints and action unit.

    Raises:
        ValueError: they differ; the message names both.
    """
    for trajectory in trajectories[1:]:
        for name in ("joint_names", "action_unit"):
            first, other = getattr(trajectories[0], name), getattr(trajectory, name)
            if first != other:
                remedy = conversion_remedy(first, other) if name == "action_unit" else ""
                raise ValueError(
                    f"trajectories of different {name.replace('_', ' ')}: {first} and {other}"
                    f"{remedy}"
                )


def continuous_recording(trajectory: Trajectory) -> str:
    """Return the recording, such as a video, that must not be resampled in parts; "" if none."""
    continuous = len(trajectory.frames) > 0 or trajectory.recording == GUARDED_RUN
    return trajectory.recording if continuous else ""


def _groups(trajectories: Sequence[Trajectory]) -> tuple[str, list[str]]:
    """Return the unit of the split, and the group of each trajectory."""
    videos = [continuous_recording(t) for t in trajectories]
    if not any(videos):
        names = [str(k) for k in range(len(trajectories))]
        return ("trajectory" if len(names) > 1 else "time"), names
    participants = [video.rpartition("/")[0] for video in videos]
    if all(participants) and len(set(participants)) >= MIN_GROUPS:
        return "participant", participants
    return ("video" if len(set(videos)) >= MIN_GROUPS else "time"), videos


def _split_in_time(
    trajectories: Sequence[Trajectory], fraction: float
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Split all trajectories of a recording at the same time."""
    cuts = {}
    for recording in {t.recording for t in trajectories}:
        time = np.unique(
            np.concatenate([t.time for t in trajectories if t.recording == recording])
        )
        cut = round(len(time) * (1 - fraction))
        if not 0 < cut < len(time):
            raise ValueError(
                f"a trajectory of {len(time)} samples cannot be split; record a longer one"
            )
        cuts[recording] = time[cut]
    early = [t[t.time < cuts[t.recording]] for t in trajectories if t.time[0] < cuts[t.recording]]
    late = [
        t[t.time >= cuts[t.recording]] for t in trajectories if t.time[-1] >= cuts[t.recording]
    ]
    return early, late
