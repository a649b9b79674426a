"""Pairs of pictures and their actions, changed together: data enter, other true data leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WRIST = ("wrist_x", "wrist_y")  # displacement in a picture, right and down, in shares of its size
DIM, BRIGHT = 0.8, 1.2  # factors on each colour of a pair
SHIFT = 1 / 16  # of the picture's size, by which pairs are moved


def flipped(pictures: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror pictures (..., H, W, 3) left to right, and with them a displacement (..., 2)."""
    return pictures.flip(-2), action * torch.tensor([-1.0, 1.0]).to(action)


def reversed_in_time(pictures: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Run pictures (N, T, H, W, 3) backwards: what moved there moves back, last things first."""
    return pictures.flip(1), -action.flip(1)


def augmented(
    pictures: Tensor, action: Tensor, joint_names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return films that could as well have been recorded, and their actions.

    Half of them run backwards; of displacements in the picture half are mirrored; light and place
    vary. An arm has no mirror image that it could take, so its pictures are not mirrored.

    Args:
        pictures: (N, T, H, W, 3) of 0 to 255.
        action: (N, T - 1, n) displacement or velocity between pictures.
        joint_names: of the n actions.
    """
    changes = [reversed_in_time] + [flipped] * (tuple(joint_names) == WRIST)
    for change in changes:
        chosen = torch.rand(len(action), device=action.device) < 0.5
        other, moved = change(pictures, action)
        pictures = torch.where(chosen[:, None, None, None, None], other, pictures)
        action = torch.where(chosen[:, None, None], moved, action)
    light = DIM + (BRIGHT - DIM) * torch.rand(len(action), 1, 1, 1, 3, device=action.device)
    return (light * shifted(pictures)).clamp(0, 255), action


def shifted(pictures: Tensor) -> Tensor:
    """Move the pictures of each film (N, T, H, W, 3) alike; their edges fill what comes in."""
    for axis in (2, 3):
        count, size = len(pictures), pictures.shape[axis]
        most = round(SHIFT * size)
        by = torch.randint(-most, most + 1, (count, 1), device=pictures.device)
        place = (torch.arange(size, device=pictures.device) + by).clamp(0, size - 1)  # (N, size)
        shape = [count, 1, 1, 1, 1]
        shape[axis] = size
        pictures = pictures.gather(axis, place.view(shape).expand_as(pictures))
    return pictures
