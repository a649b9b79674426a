"""A planar body with limits, a floor and rods that push each other: a state in, the next one out.

Steps are MuJoCo's: semi-implicit Euler with implicit damping, q' = q + h v' and

    (M + h damping) (v' - v) / h = all forces at q, v.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.contact_solver import (
    ContactConstraints,
    ContactParameters,
    Contacts,
    closest_points,
    constraint_rows,
    solve_contacts,
)
from invdyn_ros.models.planar_body.dynamics import Inertia, KinematicTree, rigid_body_terms, rotate

NEWTON_ITERATIONS = 12  # sweeps of a step backwards
CONVERGED, ACCEPTED = 1e-9, 1e-6  # [m/s] what may be left, at their end and of a past that is one
ROWS_PER_CONTACT = 4  # rows of each touch, the edges of its friction cone
CROSSING_DISTANCE = 1e-9  # [m] between axes that cross


class BodyParameters(NamedTuple):
    """Everything about a planar body of L links and K capsules."""

    inertia: Inertia
    hinge_pos: Tensor  # (L, 2) [m] of each hinge in the frame of the link that it hangs on
    lower: Tensor  # (L,) [rad] limits of the hinges
    upper: Tensor  # (L,)
    capsule_ends: Tensor  # (K, 2, 2) [m] of the capsules' axes, in the frames of their links
    capsule_radius: Tensor  # (K,) [m]
    invweight: Tensor  # (L,) [1/mass of the whole] of links pushed in the middle
    floor_height: Tensor  # () [m] height of the floor where the root's is zero
    friction: Tensor  # ()
    contact: ContactParameters
    limit: ContactParameters


class Forces(NamedTuple):
    """N bodies and what pulls at them."""

    mass_matrix: Tensor  # (N, n, n)
    qfrc: Tensor  # (N, n)
    qfrc_vel: Tensor  # (N, n, n) of the force, per velocity


class CapsuleDistances(NamedTuple):
    """Pairs of capsules."""

    distance: Tensor  # (N, P) [m]
    normal: Tensor  # (N, P, 2) from the first to the second
    point: Tensor  # (N, P, 2) half way between


class PlanarBody:
    """A tree with its capsules, and how it goes on; holds no figures."""

    def __init__(self, tree: KinematicTree, links: tuple[int, ...], collide: bool = True) -> None:
        """Note who can touch whom.

        Args:
            tree: what hangs on what.
            links: of each capsule its link.
            collide: whether its own links push each other, but those that share a hinge.
        """
        self.tree, self.angle_matrix = tree, tree.angle_matrix()
        count = len(tree.hinges)
        self.ancestor_sign = torch.zeros(count, count, dtype=torch.float64)  # (link, hinge) sign
        for capsule_link in range(count):
            for k in tree.chain(capsule_link):
                self.ancestor_sign[capsule_link, k] = tree.axis_signs[k]
        self.capsule_link = torch.tensor(links)
        near = [(a, b) for a in range(len(links)) for b in range(a)
                if links[a] != links[b] and tree.parents[links[a]] != links[b]
                and tree.parents[links[b]] != links[a]]  # fmt: skip
        self.capsule_pairs = torch.tensor(near if collide else [], dtype=torch.long).reshape(-1, 2)

    def hinge_positions(self, hinge_pos: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the hinges are and how their links are turned, (N, L, 2) and (N, L)."""
        angle = q[:, 2:] @ self.angle_matrix.T
        at: list[Tensor] = []
        for k, parent in enumerate(self.tree.parents):
            if parent < 0:
                at.append(q[:, :2])
            else:
                at.append(at[parent] + rotate(angle[:, parent], hinge_pos[k]))
        return torch.stack(at, 1), angle

    def step(
        self, parameters: BodyParameters, q: Tensor, v: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return q and v (N, n) one step of `h` (N, 1) [s] later."""
        mass, force, _ = self.forces(parameters, q, v)
        after = v + h * torch.linalg.solve(self._damped_mass_matrix(parameters, mass, h), force)
        return q + h * after, after

    def step_backward(
        self, parameters: BodyParameters, q: Tensor, v: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return q and v (N, n) one step of `h` (N, 1) [s] earlier, by Newton's method.

        Where it finds no past, v is not a number.
        """
        before = q - h * v
        best = v.clone()
        least = torch.full_like(h[:, 0], torch.inf)
        at, guess = torch.arange(len(v)), v
        for _ in range(NEWTON_ITERATIONS):
            mass, force, slope = self.forces(parameters, before[at], guess)
            dragged = self._damped_mass_matrix(parameters, mass, h[at])
            missed = guess + h[at] * torch.linalg.solve(dragged, force) - v[at]
            size = missed.abs().amax(1)
            better = size < least[at]
            best[at[better]], least[at[better]] = guess[better], size[better]
            go = size > CONVERGED
            if not bool(go.any()):
                break
            at, guess, missed = at[go], guess[go], missed[go]
            changed = h[at, :, None] * torch.linalg.solve(dragged[go], slope[go])
            guess = guess - torch.linalg.solve(
                torch.eye(v.shape[1], dtype=v.dtype) + changed, missed
            )
        return before, torch.where(least[:, None] < ACCEPTED, best, torch.nan)

    def forces(self, parameters: BodyParameters, q: Tensor, v: Tensor) -> Forces:
        """Return what accelerates bodies at q, v: all forces but inertia's."""
        mass, bias, swirl = rigid_body_terms(parameters.inertia, self.angle_matrix, q, v)
        drag = self._damping(parameters)
        force, slope = -bias - drag * v, -drag.diag() - swirl
        touches, hit = self.contact_constraints(parameters, q, v)
        if not len(hit):
            return Forces(mass, force, slope)
        heavy, free = mass[hit], force[hit]
        start = torch.linalg.solve(heavy, free)
        active = solve_contacts(
            heavy.detach(), start.detach(), ContactConstraints(*(x.detach() for x in touches))
        )
        weighted = (
            touches.jacobian * (touches.inverse_regularization * active)[..., None]
        )  # (N, R, n)
        wanted = (weighted * touches.aref[..., None]).sum(1)
        held = heavy + touches.jacobian.transpose(1, 2) @ weighted
        moved = torch.linalg.solve(held, free + wanted)
        slowed = weighted.transpose(1, 2) @ (touches.jacobian * touches.damping[..., None])
        softer = heavy @ torch.linalg.solve(held, slope[hit] - slowed)
        return Forces(
            mass,
            force.index_put((hit,), (heavy @ moved[..., None]).squeeze(2)),
            slope.index_put((hit,), softer),
        )

    def _damping(self, figures: BodyParameters) -> Tensor:
        return torch.nn.functional.pad(figures.inertia.damping, (2, 0))

    def _damped_mass_matrix(self, figures: BodyParameters, mass: Tensor, h: Tensor) -> Tensor:
        return mass + (h * self._damping(figures)).diag_embed()

    def contact_constraints(
        self, parameters: BodyParameters, q: Tensor, v: Tensor
    ) -> tuple[ContactConstraints, Tensor]:
        """Return what pushes back, of those bodies alone that anything pushes, and which."""
        at, angle = self.hinge_positions(parameters.hinge_pos, q)
        ends = at[:, self.capsule_link, None] + rotate(
            angle[:, self.capsule_link, None], parameters.capsule_ends
        )
        low, high = q[:, 2:] - parameters.lower, parameters.upper - q[:, 2:]
        bent = torch.minimum(low, high)
        down = (
            ends[..., 1] - parameters.capsule_radius[:, None] - parameters.floor_height
        )  # (N, K, 2)
        apart = self._capsule_distances(parameters, ends)
        distance = torch.cat([down.flatten(1), apart.distance], 1)
        hit = torch.nonzero((bent < 0).any(1) | (distance < 0).any(1))[:, 0]
        limits = self._limit_rows(parameters, low[hit] < high[hit], bent[hit], v[hit])
        deep = int((distance[hit] < 0).sum(1).amax()) if len(hit) else 0
        chosen = distance[hit].detach().topk(deep, 1, largest=False).indices
        pushed = self._deepest_contacts(parameters, ends, apart, chosen, hit)
        return ContactConstraints(*(torch.cat(pair, 1) for pair in zip(
            limits, self._friction_pyramid_rows(parameters, at[hit], v[hit], pushed), strict=True))), hit  # fmt: skip

    def link_invweight(self, inertia: Inertia, hinge_pos: Tensor, capsule_ends: Tensor) -> Tensor:
        """Return how easily links at rest are pushed in the middle of their first rod, (L,)."""
        zero = torch.zeros(1, len(self.tree.hinges) + 2, dtype=capsule_ends.dtype)
        at, _ = self.hinge_positions(hinge_pos, zero)
        links = torch.arange(len(self.tree.hinges))
        rods = [self.capsule_link.tolist().index(link) for link in links.tolist()]
        moved = self._point_jacobian(at, at + capsule_ends[rods].mean(1), links[None])[
            0
        ]  # (L, 2, n)
        loose = moved @ torch.linalg.inv(self._rest_mass_matrix(inertia)) @ moved.transpose(1, 2)
        return loose.diagonal(dim1=1, dim2=2).sum(1) / 3  # across the plane nothing moves

    def _limit_rows(
        self, figures: BodyParameters, lower: Tensor, bent: Tensor, v: Tensor
    ) -> ContactConstraints:
        sign = torch.where(lower, 1.0, -1.0).to(v)
        count = bent.shape[1]
        still = torch.linalg.inv(self._rest_mass_matrix(figures.inertia)).diagonal()[2:]
        jacobian = torch.zeros(len(v), count, count + 2, dtype=v.dtype)
        jacobian[:, torch.arange(count), 2 + torch.arange(count)] = sign
        return constraint_rows(
            jacobian, sign * v[:, 2:], bent, still.expand_as(bent), figures.limit
        )

    def _rest_mass_matrix(self, inertia: Inertia) -> Tensor:
        zero = torch.zeros(1, len(self.tree.hinges) + 2, dtype=torch.float64)
        return rigid_body_terms(inertia, self.angle_matrix, zero, zero).mass_matrix[0]

    def _capsule_distances(self, figures: BodyParameters, ends: Tensor) -> CapsuleDistances:
        """Return how far the capsules that may touch are from each other."""
        first, second = (
            ends[:, self.capsule_pairs[:, 0]],
            ends[:, self.capsule_pairs[:, 1]],
        )  # (N, P, 2, 2)
        here, there = closest_points(first, second)
        far = there - here
        length = (far.square().sum(-1) + CROSSING_DISTANCE**2 / 1e6).sqrt()
        normal = torch.where(length[..., None] < CROSSING_DISTANCE, 0.0, far / length[..., None])
        wide, thin = (
            figures.capsule_radius[self.capsule_pairs[:, 0]],
            figures.capsule_radius[self.capsule_pairs[:, 1]],
        )
        distance = length - wide - thin
        point = here + normal * (wide + distance / 2)[..., None]
        return CapsuleDistances(distance, normal, point)

    def _deepest_contacts(
        self,
        figures: BodyParameters,
        ends: Tensor,
        apart: CapsuleDistances,
        chosen: Tensor,
        hit: Tensor,
    ) -> Contacts:
        """Return the deepest touches (N, D) of the bodies that are hit."""
        balls = self.capsule_link.repeat_interleave(2)
        count = len(balls)
        down = (ends[..., 1] - figures.capsule_radius[:, None] - figures.floor_height).flatten(1)
        up = torch.tensor([0.0, 1.0], dtype=ends.dtype)
        drop = (figures.capsule_radius[:, None] + (down / 2).unflatten(1, (-1, 2)))[..., None] * up
        floor = (ends - drop).flatten(1, 2)
        link = torch.cat([balls, self.capsule_link[self.capsule_pairs[:, 1]]])[chosen]
        other = torch.cat([torch.full((count,), -1), self.capsule_link[self.capsule_pairs[:, 0]]])[
            chosen
        ]
        each = hit[:, None]
        distance = torch.cat([down, apart.distance], 1)[each, chosen]
        normal = torch.cat([up.expand_as(floor), apart.normal], 1)[each, chosen]
        point = torch.cat([floor, apart.point], 1)[each, chosen]
        return Contacts(distance, normal, point, link, other)

    def _friction_pyramid_rows(
        self, figures: BodyParameters, at: Tensor, v: Tensor, pushed: Contacts
    ) -> ContactConstraints:
        """Return the rows of touches: both edges of the cone, and those across the plane."""
        distance, normal, point, link, other = pushed
        moved = self._point_jacobian(at, point, link) - self._point_jacobian(at, point, other)
        # axes that cross part across the plane, so that both tangents lie in it
        crossed = (normal == 0).all(2, keepdim=True)
        first = torch.stack([normal[..., 1] + crossed[..., 0], -normal[..., 0]], -1)
        second = crossed * torch.tensor([0.0, 1.0], dtype=normal.dtype)
        along, left, right = ((moved * x[..., None]).sum(2) for x in (normal, first, second))
        edges = [figures.friction * x for x in (left, -left, right, -right)]
        jacobian = torch.cat([along + edge for edge in edges], 1)  # (N, 4 D, n)
        light = figures.invweight[link] + torch.where(other < 0, 0.0, figures.invweight[other])
        friction = figures.friction.square()
        light = (2 * friction * (1 + friction) * light).repeat(1, ROWS_PER_CONTACT)
        speed = (jacobian @ v[..., None]).squeeze(2)
        return constraint_rows(
            jacobian, speed, distance.repeat(1, ROWS_PER_CONTACT), light, figures.contact
        )

    def _point_jacobian(self, at: Tensor, point: Tensor, link: Tensor) -> Tensor:
        """Return how points (N, D, 2) of links follow the coordinates, (N, D, 2, n); -1: fixed."""
        lever = point[:, :, None] - at[:, None]  # (N, D, L, 2)
        held = self.ancestor_sign[link] * (link >= 0)[..., None]
        swing = torch.stack([lever[..., 1] * held, -lever[..., 0] * held], 2)
        root = torch.eye(2, dtype=at.dtype) * (link >= 0)[..., None, None]
        return torch.cat([root, swing], 3)
