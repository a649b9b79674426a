"""Pairs of pictures and their actions, changed together: data enter, other true data leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WRIST = ("wrist_x", "wrist_y")  # displacement in a picture, right and down, in shares of its size
DIM, BRIGHT = 0.8, 1.2  # factors on all pixels of a pair


def flipped(pictures: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror pictures (..., H, W, 3) left to right, and with them a displacement (..., 2)."""
    return pictures.flip(-2), action * torch.tensor([-1.0, 1.0]).to(action)


def reversed_in_time(pictures: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Swap the pictures of pairs (N, 2, H, W, 3): what moved there moves back."""
    return pictures.flip(1), -action


def augmented(
    pictures: Tensor, action: Tensor, joint_names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return pairs that could as well have been recorded, and their actions.

    Half of them run backwards; of displacements in the picture half are mirrored; light varies.
    An arm has no mirror image that it could take, so its pictures are not mirrored.

    Args:
        pictures: (N, 2, H, W, 3) of 0 to 255.
        action: (N, n) displacement or velocity.
        joint_names: of the n actions.
    """
    changes = [reversed_in_time] + [flipped] * (tuple(joint_names) == WRIST)
    for change in changes:
        chosen = torch.rand(len(action), device=action.device) < 0.5
        other, moved = change(pictures, action)
        pictures = torch.where(chosen[:, None, None, None, None], other, pictures)
        action = torch.where(chosen[:, None], moved, action)
    light = DIM + (BRIGHT - DIM) * torch.rand(len(action), 1, 1, 1, 1, device=action.device)
    return (light * pictures).clamp(0, 255), action
