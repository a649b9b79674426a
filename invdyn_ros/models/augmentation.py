"""Data augmentation of video clips together with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# actions that are displacements in the image, right and down, in fractions of its size
WRIST_JOINTS = ("wrist_x", "wrist_y")
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 0.8, 1.2  # factors on each colour channel of a clip
MAX_SHIFT = 1 / 16  # largest shift of a clip, in fractions of the image size


class Clips(NamedTuple):
    """N video clips and their labels."""

    images: Tensor  # (N, T, H, W, 3), 0 to 255
    action: Tensor  # (N, T - 1, n) displacement or velocity between consecutive images
    keypoints: Tensor  # (N, T, L, 2) right and down, in fractions of the image size; L may be 0


def flip(clips: Clips) -> Clips:
    """Mirror the images left to right, with their keypoints and displacements (..., 2)."""
    images, action, keypoints = clips
    mirror = torch.tensor([-1.0, 1.0]).to(action)
    flipped = keypoints * mirror.to(keypoints) + torch.tensor([1.0, 0.0]).to(keypoints)
    return Clips(images.flip(-2), action * mirror, flipped)


def reverse_time(clips: Clips) -> Clips:
    """Reverse the clips in time; this negates the actions."""
    images, action, keypoints = clips
    return Clips(images.flip(1), -action.flip(1), keypoints.flip(1))


def augment(clips: Clips, joint_names: Sequence[str]) -> Clips:
    """Return clips with random time reversal, mirroring, brightness and shift.

    Half of the clips are reversed; half are mirrored if the action is a displacement in the image.
    Clips with joint actions are not mirrored, since the mirror image of an arm is not a pose of
    that arm.

    Args:
        clips: recorded clips.
        joint_names: names of the n actions.
    """
    count, device = len(clips.action), clips.action.device
    for transform in [reverse_time] + [flip] * (tuple(joint_names) == WRIST_JOINTS):
        mask = torch.rand(count, device=device) < 0.5
        pairs = zip(transform(clips), clips, strict=True)
        clips = Clips(*(_where_rows(mask, changed, original) for changed, original in pairs))
    brightness = MIN_BRIGHTNESS + (MAX_BRIGHTNESS - MIN_BRIGHTNESS) * torch.rand(
        count, 1, 1, 1, 3, device=device
    )
    shifted = random_shift(clips)
    return shifted._replace(images=(brightness * shifted.images).clamp(0, 255))


def random_shift(clips: Clips) -> Clips:
    """Shift all images of a clip by the same random offset, with their keypoints; edges repeat."""
    images, shifts = clips.images, []
    for axis in (3, 2):
        count, size = len(images), images.shape[axis]
        max_shift = round(MAX_SHIFT * size)
        shift = torch.randint(-max_shift, max_shift + 1, (count, 1), device=images.device)
        index = (torch.arange(size, device=images.device) + shift).clamp(0, size - 1)  # (N, size)
        shape = [count, 1, 1, 1, 1]
        shape[axis] = size
        images = images.gather(axis, index.view(shape).expand_as(images))
        shifts.append(shift / size)
    keypoints = clips.keypoints - torch.cat(shifts, 1)[:, None, None].to(clips.keypoints)
    return clips._replace(images=images, keypoints=keypoints)


def _where_rows(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return `a` in the rows selected by `mask` (N,), else `b`."""
    return torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)
