"""Identification of joint limits, capsules and the floor from steps with contacts.

A force F on link k at the point P acts on each ancestor of the link through the hinge towards k,
and on no descendant. This determines which link is in contact; the torque about its hinge is that
of F with the lever P - hinge. The contact point of a round end of radius r at d, in the frame of
its link, is half way between its lowest point and the floor, so

    (R d)_z F_x / 2 - (R d)_x F_z - (r - floor) F_x / 2 = torque + hinge_z F_x / 2

is linear in d and (r - floor). RANSAC (Fischler and Bolles 1981) detects the ends one after the
other. The height of an end in contact is at most r + floor, which it has when the contact begins.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.dynamics import (
    KinematicTree,
    hinge_positions,
    rotate,
    rotate_derivative,
)
from invdyn_ros.models.planar_body.inertia_identification import (
    FREE_FALL_FORCE,
    IdentifiedInertia,
    Steps,
    external_forces,
)

MIN_SAMPLES = 30  # steps that determine a limit or an end
MIN_FLOOR_FORCE = 0.5  # [m/s^2] upward force per mass above which the floor is touched
SINGLE_LINK_TOLERANCE = 1e-3  # [m] residual torque over force if a single link is in contact
LIMIT_TORQUE = 1e-3  # [m^2/s^2] torque per mass above which a hinge is at its limit
OUTLIER_FRACTION = 0.01  # of steps on the wrong side of a limit
RANSAC_CANDIDATES, RANSAC_SAMPLES = 3000, 4000
INLIER_TOLERANCE = 3e-4  # [m] residual torque over force of an inlier
MIN_DETERMINANT = 1e-4  # of the three steps that determine an end
RADIUS_TOLERANCE = 2e-3  # [m] difference between equal radii or floor heights
UNKNOWN_RADIUS_RATIO = 0.7  # radius of a capsule without contact, over the smallest identified one
MIN_CAPSULE_LENGTH = 1e-3  # [m] of a capsule with only one known end


class CapsuleEnd(NamedTuple):
    """A round end that was in contact with the floor."""

    position: Tensor  # (2,) [m] in the frame of its link
    radius_minus_floor: float  # [m] radius less height of the floor
    radius_plus_floor: float  # [m] radius plus height of the floor
    num_inliers: int  # steps that determine it


class Geometry(NamedTuple):
    """Geometry identified from steps with contacts."""

    lower: Tensor  # (L,) [rad]
    upper: Tensor  # (L,) [rad]
    capsule_ends: Tensor  # (K, 2, 2) [m]
    capsule_radius: Tensor  # (K,) [m]
    num_unobserved_ends: Tensor  # (K,) ends without contact; if 2, the radius is a guess
    floor_height: Tensor  # () [m]


def identify_geometry(
    steps: Steps,
    tree: KinematicTree,
    capsules_per_link: tuple[int, ...],
    identified: IdentifiedInertia,
) -> Geometry:
    """Return limits, capsules and floor.

    Args:
        steps: steps of a body.
        tree: its topology.
        capsules_per_link: number of capsules of each link.
        identified: its inertia and hinge positions.

    Raises:
        ValueError: no contact with the floor.
    """
    force = external_forces(identified.inertia, tree.angle_matrix(), steps)
    lower, upper = _identify_limits(steps, force)
    ends = _identify_ends(steps, tree, identified, force)
    all_ends = [end for link in ends for end in link]
    if not all_ends:
        raise ValueError(
            "no step has a single link in contact with the floor; collect more motions"
        )
    heights = torch.tensor(
        [(end.radius_plus_floor - end.radius_minus_floor) / 2 for end in all_ends]
    )
    votes = torch.tensor([end.num_inliers for end in all_ends])
    order = heights.argsort()
    median = torch.searchsorted(votes[order].cumsum(0), int(votes.sum()) // 2)
    floor = float(heights[order][median])
    consistent = [
        [
            e
            for e in link
            if abs((e.radius_plus_floor - e.radius_minus_floor) / 2 - floor) < RADIUS_TOLERANCE
        ]
        for link in ends
    ]
    capsules = _build_capsules(consistent, tree, capsules_per_link, identified.hinge_pos, floor)
    return Geometry(lower, upper, *capsules, torch.tensor(floor, dtype=torch.float64))


def _identify_limits(steps: Steps, force: Tensor) -> tuple[Tensor, Tensor]:
    """Return the limits (L,) of the hinges, from steps with torque on one hinge; or infinite."""
    angle, torque = steps.q[:, 2:], force[:, 2:]
    at_limit = torque.abs() > LIMIT_TORQUE
    single = (force[:, :2].norm(dim=1) < FREE_FALL_FORCE) & (at_limit.sum(1) == 1)
    upper = torch.full_like(angle[0], torch.inf)
    lower = -upper
    for k in range(angle.shape[1]):
        at_lower = angle[single & (torque[:, k] > LIMIT_TORQUE), k]
        at_upper = angle[single & (torque[:, k] < -LIMIT_TORQUE), k]
        if len(at_lower) >= MIN_SAMPLES:
            lower[k] = at_lower.quantile(1 - OUTLIER_FRACTION)
        if len(at_upper) >= MIN_SAMPLES:
            upper[k] = at_upper.quantile(OUTLIER_FRACTION)
    return lower, upper


def _identify_ends(
    steps: Steps, tree: KinematicTree, identified: IdentifiedInertia, force: Tensor
) -> list[list[CapsuleEnd]]:
    """Return the ends of each link from steps in which it alone is in contact with the floor."""
    push, torque = force[:, :2], force[:, 2:] @ torch.linalg.inv(tree.angle_matrix())
    size = push.norm(dim=1).clamp(min=1e-9)
    hinges, angle = hinge_positions(tree, tree.angle_matrix(), identified.hinge_pos, steps.q)
    ends = []
    for link in range(len(tree.hinges)):
        chain = tree.chain(link)
        residual = torque.clone()
        for k, child in pairwise(chain):
            lever = rotate_derivative(angle[:, k], identified.hinge_pos[child])
            residual[:, k] -= (lever * push).sum(1)
        residual[:, link] = 0
        single_link = (push[:, 1] > MIN_FLOOR_FORCE) & (
            residual.abs().amax(1) < SINGLE_LINK_TOLERANCE * size
        )
        rows = torch.nonzero(single_link)[:, 0]
        ends.append(
            _ransac_ends(
                push[rows] / size[rows, None],
                torque[rows, link] / size[rows],
                angle[rows, link],
                hinges[rows, link, 1],
            )
        )
    return ends


def _ransac_ends(push: Tensor, torque: Tensor, angle: Tensor, height: Tensor) -> list[CapsuleEnd]:
    """Return the ends that explain the contacts of N steps, in order of detection by RANSAC.

    Args:
        push: (N, 2) direction of the force.
        torque: (N,) [m] about the link's hinge, over the force.
        angle: (N,) [rad] of the link.
        height: (N,) [m] of its hinge.
    """
    sine, cosine = angle.sin(), angle.cos()
    push_x, push_z = push.unbind(1)
    rows = torch.stack(
        [
            -sine * push_x / 2 - cosine * push_z,
            cosine * push_x / 2 - sine * push_z,
            -push_x / 2,
        ],
        1,
    )
    target = torque + height * push_x / 2
    remaining = torch.ones(len(rows), dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    ends: list[CapsuleEnd] = []
    while int(remaining.sum()) > MIN_SAMPLES:
        pool = torch.nonzero(remaining)[:, 0]
        triples = pool[torch.randint(len(pool), (RANSAC_CANDIDATES, 3), generator=generator)]
        triples = triples[torch.linalg.det(rows[triples]).abs() > MIN_DETERMINANT]
        if not len(triples):
            break
        candidates = torch.linalg.solve(rows[triples], target[triples])  # (G, 3)
        sample = pool[:RANSAC_SAMPLES]
        inliers = (rows[sample] @ candidates.T - target[sample, None]).abs() < INLIER_TOLERANCE
        best = candidates[inliers.sum(0).argmax()]
        for width in (INLIER_TOLERANCE, INLIER_TOLERANCE, INLIER_TOLERANCE / 3):
            inlier = remaining & ((rows @ best - target).abs() < width)
            best = torch.linalg.lstsq(rows[inlier], target[inlier, None]).solution[:, 0]
        residual = (rows @ best - target).abs()
        inlier = remaining & (residual < INLIER_TOLERANCE)
        if int(inlier.sum()) < MIN_SAMPLES:
            break
        centre_height = height + rotate(angle, best[:2])[:, 1]
        radius_plus_floor = float(centre_height[inlier].quantile(1 - OUTLIER_FRACTION))
        ends.append(CapsuleEnd(best[:2], float(best[2]), radius_plus_floor, int(inlier.sum())))
        remaining &= residual > 3 * INLIER_TOLERANCE
    return ends


def _build_capsules(
    ends: list[list[CapsuleEnd]],
    tree: KinematicTree,
    capsules_per_link: tuple[int, ...],
    hinge_pos: Tensor,
    floor: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ends (K, 2, 2), radii (K,) and numbers of unobserved ends (K,) of all capsules.

    Two ends of one link with equal radius form a capsule; a link without contacts gets a capsule
    from hinge to hinge.
    """
    smallest = min(end.radius_minus_floor + floor for link in ends for end in link)
    axes, radii, num_unobserved = [], [], []
    for link, (link_ends, count) in enumerate(zip(ends, capsules_per_link, strict=True)):
        pairs = _pair_ends(link_ends)
        hinges = [torch.zeros(2, dtype=hinge_pos.dtype)]
        hinges += [hinge_pos[k] for k, parent in enumerate(tree.parents) if parent == link][:1]
        for number in range(count):
            pair = pairs[number] if number < len(pairs) else []
            points = [end.position for end in pair] or hinges
            if len(points) == 1:
                distances = [float((hinge - points[0]).norm()) for hinge in hinges]
                farthest = hinges[distances.index(max(distances))]
                points = [
                    points[0],
                    farthest if number == 0 else points[0] + MIN_CAPSULE_LENGTH,
                ]
            axes.append(torch.stack(points[:2]))
            radii.append(
                pair[0].radius_minus_floor + floor if pair else UNKNOWN_RADIUS_RATIO * smallest
            )
            num_unobserved.append(2 - len(pair))
    return (
        torch.stack(axes),
        torch.tensor(radii, dtype=hinge_pos.dtype),
        torch.tensor(num_unobserved),
    )


def _pair_ends(ends: list[CapsuleEnd]) -> list[list[CapsuleEnd]]:
    """Return ends of equal radius in pairs, complete pairs first."""
    pairs: list[list[CapsuleEnd]] = []
    for end in ends:
        matching = [
            p
            for p in pairs
            if len(p) == 1
            and abs(p[0].radius_minus_floor - end.radius_minus_floor) < RADIUS_TOLERANCE
        ]
        if matching:
            matching[0].append(end)
        else:
            pairs.append([end])
    return sorted(pairs, key=lambda pair: (len(pair), pair[0].num_inliers), reverse=True)
