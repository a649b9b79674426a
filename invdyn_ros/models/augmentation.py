"""Films and what is known of them, changed together: data enter, other true data leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WRIST = ("wrist_x", "wrist_y")  # displacement in a picture, right and down, in shares of its size
DIM, BRIGHT = 0.8, 1.2  # factors on each colour of a film
SHIFT = 1 / 16  # of the picture's size, by which films are moved


class Shown(NamedTuple):
    """N films and what is known of them."""

    pictures: Tensor  # (N, T, H, W, 3), 0 to 255
    action: Tensor  # (N, T - 1, n) displacement or velocity between pictures
    points: Tensor  # (N, T, L, 2) places, right and down in shares of the size; L may be 0


def flipped(films: Shown) -> Shown:
    """Mirror pictures left to right, and with them places and a displacement (..., 2)."""
    pictures, action, points = films
    mirror = torch.tensor([-1.0, 1.0]).to(action)
    places = points * mirror.to(points) + torch.tensor([1.0, 0.0]).to(points)
    return Shown(pictures.flip(-2), action * mirror, places)


def reversed_in_time(films: Shown) -> Shown:
    """Run films backwards: what moved there moves back, last things first."""
    pictures, action, points = films
    return Shown(pictures.flip(1), -action.flip(1), points.flip(1))


def augmented(films: Shown, joint_names: Sequence[str]) -> Shown:
    """Return films that could as well have been recorded, and what is known of them.

    Half of them run backwards; of displacements in the picture half are mirrored; light and place
    vary. An arm has no mirror image that it could take, so its pictures are not mirrored.

    Args:
        films: as recorded.
        joint_names: of the n actions.
    """
    count, device = len(films.action), films.action.device
    for change in [reversed_in_time] + [flipped] * (tuple(joint_names) == WRIST):
        chosen = torch.rand(count, device=device) < 0.5
        pairs = zip(change(films), films, strict=True)
        films = Shown(*(_chosen(chosen, other, own) for other, own in pairs))
    light = DIM + (BRIGHT - DIM) * torch.rand(count, 1, 1, 1, 3, device=device)
    moved = shifted(films)
    return moved._replace(pictures=(light * moved.pictures).clamp(0, 255))


def shifted(films: Shown) -> Shown:
    """Move the pictures of each film alike, and the places in them; edges fill what comes in."""
    pictures, moved = films.pictures, []
    for axis in (3, 2):
        count, size = len(pictures), pictures.shape[axis]
        most = round(SHIFT * size)
        by = torch.randint(-most, most + 1, (count, 1), device=pictures.device)
        place = (torch.arange(size, device=pictures.device) + by).clamp(0, size - 1)  # (N, size)
        shape = [count, 1, 1, 1, 1]
        shape[axis] = size
        pictures = pictures.gather(axis, place.view(shape).expand_as(pictures))
        moved.append(by / size)
    points = films.points - torch.cat(moved, 1)[:, None, None].to(films.points)
    return films._replace(pictures=pictures, points=points)


def _chosen(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return `one` in the rows of `which` (N,), else `other`."""
    return torch.where(which.view(-1, *[1] * (one.dim() - 1)), one, other)
