"""Contact geometry of planar bodies: constraint rows of joint limits, capsules and the floor."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.contact_solver import (
    ContactConstraints,
    Contacts,
    closest_points,
    constraint_rows,
)
from invdyn_ros.models.planar_body.dynamics import (
    Inertia,
    KinematicTree,
    hinge_positions,
    rigid_body_terms,
    rotate,
)
from invdyn_ros.models.planar_body.parameters import BodyParameters

ROWS_PER_CONTACT = 4  # edges of the friction pyramid
CROSSING_DISTANCE = 1e-9  # [m] between axes that cross


def expand_capsule_links(capsules_per_link: tuple[int, ...]) -> tuple[int, ...]:
    """Return the link of each capsule, given the number of capsules of each link."""
    return tuple(link for link, count in enumerate(capsules_per_link) for _ in range(count))


class CapsuleDistances(NamedTuple):
    """Distances of P pairs of capsules."""

    distance: Tensor  # (N, P) [m]
    normal: Tensor  # (N, P, 2) from the first to the second
    point: Tensor  # (N, P, 2) half way between


class ContactGeometry:
    """Limits, capsules and the floor of a kinematic tree; parameters are arguments."""

    def __init__(
        self, tree: KinematicTree, capsule_links: tuple[int, ...], self_collision: bool = True
    ) -> None:
        """Determine which pairs of capsules can collide.

        Args:
            tree: topology.
            capsule_links: link of each capsule.
            self_collision: whether links collide with each other, except parent and child.
        """
        self.tree, self.angle_matrix = tree, tree.angle_matrix()
        count = len(tree.hinges)
        # (L, L) sign of each hinge between the root and the link, else zero
        self.ancestor_sign = torch.zeros(count, count, dtype=torch.float64)
        for link in range(count):
            for k in tree.chain(link):
                self.ancestor_sign[link, k] = tree.axis_signs[k]
        self.capsule_link = torch.tensor(capsule_links)
        pairs = [(a, b) for a in range(len(capsule_links)) for b in range(a)
                 if capsule_links[a] != capsule_links[b]
                 and tree.parents[capsule_links[a]] != capsule_links[b]
                 and tree.parents[capsule_links[b]] != capsule_links[a]]  # fmt: skip
        self.capsule_pairs = torch.tensor(
            pairs if self_collision else [], dtype=torch.long
        ).reshape(-1, 2)

    def constraints(
        self, parameters: BodyParameters, q: Tensor, v: Tensor
    ) -> tuple[ContactConstraints, Tensor]:
        """Return the constraint rows of the bodies in contact, and the indices of these bodies.

        Args:
            parameters: of the body.
            q: (N, n) positions.
            v: (N, n) velocities.
        """
        hinges, angle = hinge_positions(self.tree, self.angle_matrix, parameters.hinge_pos, q)
        ends = hinges[:, self.capsule_link, None] + rotate(
            angle[:, self.capsule_link, None], parameters.capsule_ends
        )
        to_lower, to_upper = q[:, 2:] - parameters.lower, parameters.upper - q[:, 2:]
        limit_distance = torch.minimum(to_lower, to_upper)
        floor_distance = (
            ends[..., 1] - parameters.capsule_radius[:, None] - parameters.floor_height
        )  # (N, K, 2)
        capsules = self._capsule_distances(parameters, ends)
        distance = torch.cat([floor_distance.flatten(1), capsules.distance], 1)
        contact = torch.nonzero((limit_distance < 0).any(1) | (distance < 0).any(1))[:, 0]
        limits = self._limit_rows(
            parameters, to_lower[contact] < to_upper[contact], limit_distance[contact], v[contact]
        )
        count = int((distance[contact] < 0).sum(1).amax()) if len(contact) else 0
        deepest = distance[contact].detach().topk(count, 1, largest=False).indices
        contacts = self._deepest_contacts(parameters, ends, capsules, deepest, contact)
        return ContactConstraints(*(torch.cat(pair, 1) for pair in zip(
            limits,
            self._friction_pyramid_rows(parameters, hinges[contact], v[contact], contacts),
            strict=True))), contact  # fmt: skip

    def link_invweight(self, inertia: Inertia, hinge_pos: Tensor, capsule_ends: Tensor) -> Tensor:
        """Return the inverse weight (L,) of each link at the middle of its first capsule.

        Args:
            inertia: of the tree.
            hinge_pos: (L, 2) [m].
            capsule_ends: (K, 2, 2) [m].
        """
        zero = torch.zeros(1, len(self.tree.hinges) + 2, dtype=capsule_ends.dtype)
        hinges, _ = hinge_positions(self.tree, self.angle_matrix, hinge_pos, zero)
        links = torch.arange(len(self.tree.hinges))
        first = [self.capsule_link.tolist().index(link) for link in links.tolist()]
        jacobian = self._point_jacobian(hinges, hinges + capsule_ends[first].mean(1), links[None])[
            0
        ]  # (L, 2, n)
        inverse = (
            jacobian @ torch.linalg.inv(self._rest_mass_matrix(inertia)) @ jacobian.transpose(1, 2)
        )
        # mean over three directions, one of which is normal to the plane of motion
        return inverse.diagonal(dim1=1, dim2=2).sum(1) / 3

    def _limit_rows(
        self, parameters: BodyParameters, at_lower: Tensor, distance: Tensor, v: Tensor
    ) -> ContactConstraints:
        sign = torch.where(at_lower, 1.0, -1.0).to(v)
        count = distance.shape[1]
        invweight = torch.linalg.inv(self._rest_mass_matrix(parameters.inertia)).diagonal()[2:]
        jacobian = torch.zeros(len(v), count, count + 2, dtype=v.dtype)
        jacobian[:, torch.arange(count), 2 + torch.arange(count)] = sign
        return constraint_rows(
            jacobian, sign * v[:, 2:], distance, invweight.expand_as(distance), parameters.limit
        )

    def _rest_mass_matrix(self, inertia: Inertia) -> Tensor:
        zero = torch.zeros(1, len(self.tree.hinges) + 2, dtype=torch.float64)
        return rigid_body_terms(inertia, self.angle_matrix, zero, zero).mass_matrix[0]

    def _capsule_distances(self, parameters: BodyParameters, ends: Tensor) -> CapsuleDistances:
        """Return the distances of the capsules that can collide."""
        first, second = (
            ends[:, self.capsule_pairs[:, 0]],
            ends[:, self.capsule_pairs[:, 1]],
        )  # (N, P, 2, 2)
        point1, point2 = closest_points(first, second)
        offset = point2 - point1
        length = (offset.square().sum(-1) + CROSSING_DISTANCE**2 / 1e6).sqrt()
        normal = torch.where(
            length[..., None] < CROSSING_DISTANCE, 0.0, offset / length[..., None]
        )
        radius1, radius2 = (
            parameters.capsule_radius[self.capsule_pairs[:, 0]],
            parameters.capsule_radius[self.capsule_pairs[:, 1]],
        )
        distance = length - radius1 - radius2
        point = point1 + normal * (radius1 + distance / 2)[..., None]
        return CapsuleDistances(distance, normal, point)

    def _deepest_contacts(
        self,
        parameters: BodyParameters,
        ends: Tensor,
        capsules: CapsuleDistances,
        deepest: Tensor,
        contact: Tensor,
    ) -> Contacts:
        """Return the contacts (N, D) with the indices `deepest` of the bodies in contact."""
        end_links = self.capsule_link.repeat_interleave(2)
        count = len(end_links)
        floor_distance = (
            ends[..., 1] - parameters.capsule_radius[:, None] - parameters.floor_height
        ).flatten(1)
        up = torch.tensor([0.0, 1.0], dtype=ends.dtype)
        drop = (parameters.capsule_radius[:, None] + (floor_distance / 2).unflatten(1, (-1, 2)))[
            ..., None
        ] * up
        floor_point = (ends - drop).flatten(1, 2)
        link = torch.cat([end_links, self.capsule_link[self.capsule_pairs[:, 1]]])[deepest]
        other = torch.cat([torch.full((count,), -1), self.capsule_link[self.capsule_pairs[:, 0]]])[
            deepest
        ]
        batch = contact[:, None]
        distance = torch.cat([floor_distance, capsules.distance], 1)[batch, deepest]
        normal = torch.cat([up.expand_as(floor_point), capsules.normal], 1)[batch, deepest]
        point = torch.cat([floor_point, capsules.point], 1)[batch, deepest]
        return Contacts(distance, normal, point, link, other)

    def _friction_pyramid_rows(
        self, parameters: BodyParameters, hinges: Tensor, v: Tensor, contacts: Contacts
    ) -> ContactConstraints:
        """Return the rows of contacts: the edges of the friction pyramid."""
        distance, normal, point, link, other = contacts
        jacobian = self._point_jacobian(hinges, point, link) - self._point_jacobian(
            hinges, point, other
        )
        # the normal of axes that cross is normal to the plane, so that both tangents lie in it
        crossed = (normal == 0).all(2, keepdim=True)
        first = torch.stack([normal[..., 1] + crossed[..., 0], -normal[..., 0]], -1)
        second = crossed * torch.tensor([0.0, 1.0], dtype=normal.dtype)
        along_normal, along_first, along_second = (
            (jacobian * x[..., None]).sum(2) for x in (normal, first, second)
        )
        edges = [
            parameters.friction * x
            for x in (along_first, -along_first, along_second, -along_second)
        ]
        row_jacobian = torch.cat([along_normal + edge for edge in edges], 1)  # (N, 4 D, n)
        invweight = parameters.invweight[link] + torch.where(
            other < 0, 0.0, parameters.invweight[other]
        )
        friction = parameters.friction.square()
        invweight = (2 * friction * (1 + friction) * invweight).repeat(1, ROWS_PER_CONTACT)
        velocity = (row_jacobian @ v[..., None]).squeeze(2)
        return constraint_rows(
            row_jacobian,
            velocity,
            distance.repeat(1, ROWS_PER_CONTACT),
            invweight,
            parameters.contact,
        )

    def _point_jacobian(self, hinges: Tensor, point: Tensor, link: Tensor) -> Tensor:
        """Return the Jacobian (N, D, 2, n) of points (N, D, 2) of links; -1: a fixed point."""
        lever = point[:, :, None] - hinges[:, None]  # (N, D, L, 2)
        sign = self.ancestor_sign[link] * (link >= 0)[..., None]
        rotation = torch.stack([lever[..., 1] * sign, -lever[..., 0] * sign], 2)
        root = torch.eye(2, dtype=hinges.dtype) * (link >= 0)[..., None, None]
        return torch.cat([root, rotation], 3)
