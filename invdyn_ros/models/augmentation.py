"""Films and what is known of them, changed together: data enter, other true data leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WRIST_JOINTS = (
    "wrist_x",
    "wrist_y",
)  # displacement in a picture, right and down, in shares of its size
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 0.8, 1.2  # factors on each colour of a film
MAX_SHIFT = 1 / 16  # of the picture's size, by which films are moved


class Clips(NamedTuple):
    """N films and what is known of them."""

    images: Tensor  # (N, T, H, W, 3), 0 to 255
    action: Tensor  # (N, T - 1, n) displacement or velocity between pictures
    keypoints: Tensor  # (N, T, L, 2) places, right and down in shares of the size; L may be 0


def flip(clips: Clips) -> Clips:
    """Mirror pictures left to right, and with them places and a displacement (..., 2)."""
    pictures, action, points = clips
    mirror = torch.tensor([-1.0, 1.0]).to(action)
    places = points * mirror.to(points) + torch.tensor([1.0, 0.0]).to(points)
    return Clips(pictures.flip(-2), action * mirror, places)


def reverse_time(clips: Clips) -> Clips:
    """Run films backwards: what moved there moves back, last things first."""
    pictures, action, points = clips
    return Clips(pictures.flip(1), -action.flip(1), points.flip(1))


def augment(clips: Clips, joint_names: Sequence[str]) -> Clips:
    """Return films that could as well have been recorded, and what is known of them.

    Half of them run backwards; of displacements in the picture half are mirrored; light and place
    vary. An arm has no mirror image that it could take, so its pictures are not mirrored.

    Args:
        films: as recorded.
        joint_names: of the n actions.
    """
    count, device = len(clips.action), clips.action.device
    for change in [reverse_time] + [flip] * (tuple(joint_names) == WRIST_JOINTS):
        chosen = torch.rand(count, device=device) < 0.5
        pairs = zip(change(clips), clips, strict=True)
        clips = Clips(*(_where_rows(chosen, other, own) for other, own in pairs))
    light = MIN_BRIGHTNESS + (MAX_BRIGHTNESS - MIN_BRIGHTNESS) * torch.rand(
        count, 1, 1, 1, 3, device=device
    )
    moved = random_shift(clips)
    return moved._replace(images=(light * moved.images).clamp(0, 255))


def random_shift(clips: Clips) -> Clips:
    """Move the pictures of each film alike, and the places in them; edges fill what comes in."""
    pictures, moved = clips.images, []
    for axis in (3, 2):
        count, size = len(pictures), pictures.shape[axis]
        most = round(MAX_SHIFT * size)
        by = torch.randint(-most, most + 1, (count, 1), device=pictures.device)
        place = (torch.arange(size, device=pictures.device) + by).clamp(0, size - 1)  # (N, size)
        shape = [count, 1, 1, 1, 1]
        shape[axis] = size
        pictures = pictures.gather(axis, place.view(shape).expand_as(pictures))
        moved.append(by / size)
    points = clips.keypoints - torch.cat(moved, 1)[:, None, None].to(clips.keypoints)
    return clips._replace(images=pictures, keypoints=points)


def _where_rows(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return `one` in the rows of `which` (N,), else `other`."""
    return torch.where(which.view(-1, *[1] * (one.dim() - 1)), one, other)
