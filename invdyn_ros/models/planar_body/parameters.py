"""Parameters of planar bodies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.contact_solver import ContactParameters
from invdyn_ros.models.planar_body.dynamics import Inertia

DEFAULT_CONTACT = ContactParameters(
    *(torch.tensor(x, dtype=torch.float64) for x in (0.02, 0.9, 0.95, 1e-3))
)


class BodyParameters(NamedTuple):
    """All parameters of a planar body of L links and K capsules."""

    inertia: Inertia
    hinge_pos: Tensor  # (L, 2) [m] of each hinge in the frame of the parent link
    lower: Tensor  # (L,) [rad] limits of the hinges
    upper: Tensor  # (L,)
    capsule_ends: Tensor  # (K, 2, 2) [m] of the capsules' axes, in the frames of their links
    capsule_radius: Tensor  # (K,) [m]
    invweight: Tensor  # (L,) [1 / total mass] translational inverse weight of each link
    floor_height: Tensor  # () [m] in the root's coordinate z
    friction: Tensor  # ()
    contact: ContactParameters
    limit: ContactParameters


def initial_parameters(count: int, num_capsules: int) -> BodyParameters:
    """Return parameters of a body of `count` links without gravity, limits and contacts."""
    diagonal = 0.01 * torch.eye(count, dtype=torch.float64)
    return BodyParameters(
        Inertia(
            _zeros(count, 2), torch.stack([diagonal, 0 * diagonal], -1), _zeros(count),
            _zeros(count), _zeros(),
        ),
        _zeros(count, 2), _zeros(count) - torch.inf, _zeros(count) + torch.inf,
        _zeros(num_capsules, 2, 2), _zeros(num_capsules), _zeros(count) + 1,
        _zeros() - torch.inf, _zeros() + 1, DEFAULT_CONTACT, DEFAULT_CONTACT,
    )  # fmt: skip


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def flatten_parameters(parameters: BodyParameters) -> list[Tensor]:
    """Return all parameters as a flat list."""
    return [x for part in parameters for x in (part if isinstance(part, tuple) else (part,))]


def unflatten_parameters(parts: list[Tensor]) -> BodyParameters:
    """Return the parameters of a list from `flatten_parameters`."""
    remaining = iter(parts)

    def take(count: int) -> list[Tensor]:
        return [next(remaining) for _ in range(count)]

    inertia, tensors = Inertia(*take(len(Inertia._fields))), take(len(BodyParameters._fields) - 3)
    contacts = [ContactParameters(*take(len(ContactParameters._fields))) for _ in range(2)]
    return BodyParameters(inertia, *tensors, *contacts)  # type: ignore[arg-type]  # counts match
