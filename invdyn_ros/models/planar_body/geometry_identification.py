"""What stops a planar body, and where: steps in which something pushes enter, places leave.

A force F that acts on link k at P turns every link above it as its hinge below does, and none
beyond it; that tells which link is touched, and the torque about its hinge is what (P - hinge)
makes of F. A round end of radius r around d, in the frame of its link, meets the floor half way
between its lowest point and the floor, so

    (R d)_z F_x / 2 - (R d)_x F_z - (r - floor) F_x / 2 = torque + hinge_z F_x / 2

is linear in d and (r - floor). Ends are what most steps agree on (RANSAC; Fischler and Bolles
1981), one after the other. An end that touches is lower than r + floor, and just so at first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.dynamics import KinematicTree, rotate, rotate_derivative
from invdyn_ros.models.planar_body.inertia_identification import (
    FREE_FALL_FORCE,
    IdentifiedInertia,
    Steps,
    external_forces,
)
from invdyn_ros.models.planar_body.simulator import PlanarBody

MIN_SAMPLES = 30  # steps that tell a limit or an end
MIN_FLOOR_FORCE = 0.5  # [m/s^2] of force upwards per mass that is a touch
SINGLE_LINK_TOLERANCE = 1e-3  # [m] of torque over force that may be left where one link is touched
LIMIT_TORQUE = 1e-3  # [m^2/s^2] of torque per mass that is a limit's
OUTLIER_FRACTION = 0.01  # share of steps that may push on the wrong side of a limit
RANSAC_CANDIDATES, RANSAC_SAMPLES = 3000, 4000  # of RANSAC
INLIER_TOLERANCE = 3e-4  # [m] of torque over force that agrees
MIN_DETERMINANT = 1e-4  # least determinant of three steps that tell an end
RADIUS_TOLERANCE = 2e-3  # [m] of radius or floor that is the same
UNKNOWN_RADIUS_RATIO = (
    0.7  # a capsule whose radius nothing tells, over the thinnest that something does
)
MIN_CAPSULE_LENGTH = 1e-3  # [m] of a capsule of which one end alone is known


class CapsuleEnd(NamedTuple):
    """A round end that met the floor."""

    position: Tensor  # (2,) [m] in the frame of its link
    radius_minus_floor: float  # [m] radius less height of the floor
    radius_plus_floor: float  # [m] radius plus height of the floor
    votes: int


class Geometry(NamedTuple):
    """What steps with touches tell."""

    lower: Tensor  # (L,) [rad]
    upper: Tensor  # (L,) [rad]
    capsule_ends: Tensor  # (K, 2, 2) [m]
    capsule_radius: Tensor  # (K,) [m]
    num_unobserved_ends: Tensor  # (K,) ends that nothing told; the radius is a guess if both
    floor_height: Tensor  # () [m]


def identify_geometry(
    steps: Steps,
    tree: KinematicTree,
    capsules_per_link: tuple[int, ...],
    inertia: IdentifiedInertia,
) -> Geometry:
    """Return limits, capsules and floor.

    Args:
        steps: of a body.
        tree: what hangs on what.
        capsules: how many each link has.
        found: its inertia and hinges.

    Raises:
        ValueError: nothing ever meets the floor.
    """
    force = external_forces(inertia.inertia, tree.angle_matrix(), steps)
    low, high = _identify_limits(steps, force)
    ends = _identify_ends(steps, tree, inertia, force)
    all_ = [end for link in ends for end in link]
    if not all_:
        raise ValueError("no link is ever seen to meet the floor alone; record more motions")
    heights = torch.tensor([(end.radius_plus_floor - end.radius_minus_floor) / 2 for end in all_])
    votes = torch.tensor([end.votes for end in all_])
    order = heights.argsort()
    middle = torch.searchsorted(votes[order].cumsum(0), int(votes.sum()) // 2)
    floor = float(heights[order][middle])
    right = [
        [
            e
            for e in link
            if abs((e.radius_plus_floor - e.radius_minus_floor) / 2 - floor) < RADIUS_TOLERANCE
        ]
        for link in ends
    ]
    rods = _build_capsules(right, tree, capsules_per_link, inertia.hinge_pos, floor)
    return Geometry(low, high, *rods, torch.tensor(floor, dtype=torch.float64))


def _identify_limits(steps: Steps, force: Tensor) -> tuple[Tensor, Tensor]:
    """Return where hinges are pushed back while nothing else pushes, (L,) each; else infinite."""
    angle, torque = steps.q[:, 2:], force[:, 2:]
    pushed = torque.abs() > LIMIT_TORQUE
    alone = (force[:, :2].norm(dim=1) < FREE_FALL_FORCE) & (pushed.sum(1) == 1)
    high = torch.full_like(angle[0], torch.inf)
    low = -high
    for k in range(angle.shape[1]):
        up = angle[alone & (torque[:, k] > LIMIT_TORQUE), k]
        down = angle[alone & (torque[:, k] < -LIMIT_TORQUE), k]
        if len(up) >= MIN_SAMPLES:
            low[k] = up.quantile(1 - OUTLIER_FRACTION)
        if len(down) >= MIN_SAMPLES:
            high[k] = down.quantile(OUTLIER_FRACTION)
    return low, high


def _identify_ends(
    steps: Steps, tree: KinematicTree, found: IdentifiedInertia, force: Tensor
) -> list[list[CapsuleEnd]]:
    """Return the round ends of each link that met the floor while no other link did."""
    push, torque = force[:, :2], force[:, 2:] @ torch.linalg.inv(tree.angle_matrix())
    size = push.norm(dim=1).clamp(min=1e-9)
    at, angle = PlanarBody(tree, ()).hinge_positions(found.hinge_pos, steps.q)
    ends = []
    for link in range(len(tree.hinges)):
        path = tree.chain(link)
        wrong = torque.clone()
        for k, below in pairwise(path):
            wrong[:, k] -= (rotate_derivative(angle[:, k], found.hinge_pos[below]) * push).sum(1)
        wrong[:, link] = 0
        clean = (push[:, 1] > MIN_FLOOR_FORCE) & (
            wrong.abs().amax(1) < SINGLE_LINK_TOLERANCE * size
        )
        there = torch.nonzero(clean)[:, 0]
        ends.append(
            _ransac_ends(
                push[there] / size[there, None],
                torque[there, link] / size[there],
                angle[there, link],
                at[there, link, 1],
            )
        )
    return ends


def _ransac_ends(push: Tensor, torque: Tensor, angle: Tensor, height: Tensor) -> list[CapsuleEnd]:
    """Return the ends that steps (N,) agree on, those with most votes first."""
    sine, cosine = angle.sin(), angle.cos()
    along, up = push.unbind(1)
    rows = torch.stack(
        [-sine * along / 2 - cosine * up, cosine * along / 2 - sine * up, -along / 2], 1
    )
    wanted = torque + height * along / 2
    left = torch.ones(len(rows), dtype=torch.bool)
    random = torch.Generator().manual_seed(0)
    ends: list[CapsuleEnd] = []
    while int(left.sum()) > MIN_SAMPLES:
        pool = torch.nonzero(left)[:, 0]
        three = pool[torch.randint(len(pool), (RANSAC_CANDIDATES, 3), generator=random)]
        three = three[torch.linalg.det(rows[three]).abs() > MIN_DETERMINANT]
        if not len(three):
            break
        guesses = torch.linalg.solve(rows[three], wanted[three])  # (G, 3)
        judges = pool[:RANSAC_SAMPLES]
        agree = (rows[judges] @ guesses.T - wanted[judges, None]).abs() < INLIER_TOLERANCE
        best = guesses[agree.sum(0).argmax()]
        for width in (INLIER_TOLERANCE, INLIER_TOLERANCE, INLIER_TOLERANCE / 3):
            mine = left & ((rows @ best - wanted).abs() < width)
            best = torch.linalg.lstsq(rows[mine], wanted[mine, None]).solution[:, 0]
        missed = (rows @ best - wanted).abs()
        mine = left & (missed < INLIER_TOLERANCE)
        if int(mine.sum()) < MIN_SAMPLES:
            break
        middle = height + rotate(angle, best[:2])[:, 1]
        under = float(middle[mine].quantile(1 - OUTLIER_FRACTION))
        ends.append(CapsuleEnd(best[:2], float(best[2]), under, int(mine.sum())))
        left &= missed > 3 * INLIER_TOLERANCE
    return ends


def _build_capsules(
    ends: list[list[CapsuleEnd]],
    tree: KinematicTree,
    capsules: tuple[int, ...],
    places: Tensor,
    floor: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ends (K, 2, 2), radii and how many ends are guessed, (K,), of what met the floor.

    Ends of one link and radius are one rod; what never met the floor goes from hinge to hinge.
    """
    thinnest = min(end.radius_minus_floor + floor for link in ends for end in link)
    axes, radii, guessed = [], [], []
    for link, (met, count) in enumerate(zip(ends, capsules, strict=True)):
        pairs = _pair_ends(met)
        bone = [torch.zeros(2, dtype=places.dtype)]
        bone += [places[k] for k, parent in enumerate(tree.parents) if parent == link][:1]
        for number in range(count):
            pair = pairs[number] if number < len(pairs) else []
            points = [end.position for end in pair] or bone
            if len(points) == 1:
                away = [float((place - points[0]).norm()) for place in bone]
                far = bone[away.index(max(away))]
                points = [points[0], far if number == 0 else points[0] + MIN_CAPSULE_LENGTH]
            axes.append(torch.stack(points[:2]))
            radii.append(
                pair[0].radius_minus_floor + floor if pair else UNKNOWN_RADIUS_RATIO * thinnest
            )
            guessed.append(2 - len(pair))
    return torch.stack(axes), torch.tensor(radii, dtype=places.dtype), torch.tensor(guessed)


def _pair_ends(ends: list[CapsuleEnd]) -> list[list[CapsuleEnd]]:
    """Return ends of one radius together, two at most, whole rods first."""
    pairs: list[list[CapsuleEnd]] = []
    for end in ends:
        alike = [
            p
            for p in pairs
            if len(p) == 1
            and abs(p[0].radius_minus_floor - end.radius_minus_floor) < RADIUS_TOLERANCE
        ]
        if alike:
            alike[0].append(end)
        else:
            pairs.append([end])
    return sorted(pairs, key=lambda pair: (len(pair), pair[0].votes), reverse=True)
