"""Distances of an arm to its obstacles and to itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.robots.collision_geometry import (
    TABLE,
    WORLD,
    Shape,
    build_spec,
    compile_spec,
    load_shapes,
    obstacle_name,
)
from invdyn_ros.robots.motion_bounds import largest_rows, pair_radii
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Indices

NUM_SAMPLES = 300  # configurations that tell which pairs always touch
MIN_DISTANCE = 0.002  # [m] a pair that is closer counts as touching


@dataclass(frozen=True)
class CollisionConfig(Validated):
    """Distances that an arm keeps.

    Attributes:
        self_margin: distance between two links [m].
        obstacle_margin: distance between a link and the table or a box [m].
        gripper_margin: distance between the table and what moves rigidly with the gripper, that
            is the fingers, its body and its link of the arm [m]. Fingers have to approach the
            table in order to grasp, and the body of a small or tilted gripper comes with them.
        range: distance beyond the margin up to which distances are computed, as a fraction of the
            arm's reach [-].
    """

    self_margin: NonNegativeFloat = 0.01
    obstacle_margin: NonNegativeFloat = 0.02
    gripper_margin: NonNegativeFloat = 0.0005
    range: PositiveFloat = 0.08


class Clearance(NamedTuple):
    """The smallest distance beyond the margin [m], and the names of what is closest.

    The distance is negative within the margin. It is at most the range of the `CollisionModel`,
    where the names are empty.
    """

    distance: float
    pair: tuple[str, str]


class NearShapes(NamedTuple):
    """All pairs of shapes of which the clearance is less than the range.

    Attributes:
        shapes: (k,) codes of the two shapes.
        pair: (k,) index of the pair of bodies.
        clearance: (k,) distance beyond the margin [m].
    """

    shapes: Indices
    pair: Indices
    clearance: Array


class BodyPair(NamedTuple):
    """Two bodies: geometry ids and the margin between them [m], and whether one is an obstacle."""

    margins: dict[tuple[int, int], float]
    obstacle: bool


class CollisionModel:
    """Clearances of an arm: distances beyond the margin between pairs of bodies.

    A body is all that moves with one joint: its link, and the links that are fixed to that. The
    shapes are those of the URDF, a mesh is its convex hull, and fingers are present both open and
    closed. A held object is not part of the model.

    Not checked are two bodies that one joint connects, what is fixed to the base against
    obstacles, and the pairs in `excluded`. The margin of a pair is at most half of its distance at
    home.

    Attributes:
        range: largest clearance that is computed [m].
        pairs: (P,) names of a link of each body of a pair.
        margins: (P,) smallest margin between two shapes of each pair [m].
        excluded: pairs that touch by construction: two bodies that touch at home, or any pair
            that touches in all of `NUM_SAMPLES` random configurations.
        largest_radii: (F, n) a motion dq [rad] changes no distance of a pair by more than the
            largest of largest_radii @ |dq| [m/rad].
    """

    def __init__(
        self, robot: Robot, obstacles: Obstacles, config: CollisionConfig | None = None
    ) -> None:
        """Load the shapes of an arm.

        Raises:
            ValueError: a mesh of the URDF does not exist or cannot be read.
        """
        self.robot, self.config = robot, config or CollisionConfig()
        shapes = load_shapes(robot)
        spec = build_spec(robot, shapes, obstacles)
        model = compile_spec(spec, robot)
        names = [model.geom(i).name for i in range(model.ngeom)]
        self._links = [shapes[int(n)].link if n.isdigit() else obstacle_name(n) for n in names]
        radii = pair_radii(model)
        self.range = self.config.range * float(radii.max(initial=1e-3))
        pairs = _body_pairs(model, shapes, self.config)
        for pair in pairs:
            for (first, second), margin in pair.margins.items():
                reach = margin + self.range
                spec.add_pair(geomname1=names[first], geomname2=names[second], margin=reach)
        self._model = compile_spec(spec, robot)
        self._data = mujoco.MjData(self._model)
        self._q = self._data.qpos  # a view: the attribute makes a new one each time
        self._shape_code = np.array([self._model.ngeom, 1], np.int32)
        self._radii = radii.reshape(-1, robot.n)  # like all arrays by pair of shapes: flat
        self._set_pairs(pairs)
        self.excluded: list[tuple[str, str]] = []
        self._set_pairs(self._separable_pairs(pairs))
        self.largest_radii = largest_rows(self._radii[self._pair_index < len(self.pairs)])

    def clearance(self, q: Array) -> Clearance:
        """Return the smallest clearance at q (n,) [rad] and the names of the closest pair."""
        shapes, distances = self._distances(q)
        if not distances.size or distances.min() >= self.range:
            return Clearance(self.range, ("", ""))
        closest = int(distances.argmin())
        return Clearance(float(distances[closest]), self.link_names(int(shapes[closest])))

    def link_names(self, shapes: int) -> tuple[str, str]:
        """Return the names of the links of two shapes, from their code."""
        first, second = divmod(shapes, self._model.ngeom)
        return self._links[first], self._links[second]

    def clearances(self, q: Array) -> Array:
        """Return the clearance of each pair at q (n,) [rad], (P,) [m], at most the range."""
        shapes, distances = self._distances(q)
        result = np.full(len(self.pairs) + 1, self.range)  # the last one: excluded
        np.minimum.at(result, self._pair_index[shapes], distances)
        return result[:-1]

    def near_shapes(self, q: Array) -> NearShapes:
        """Return all pairs of shapes that are close to each other at q (n,) [rad]."""
        shapes, distances = self._distances(q)
        near = distances < self.range
        if np.count_nonzero(near) < near.size:
            shapes, distances = shapes[near], distances[near]
        return NearShapes(shapes, self._pair_index.take(shapes), distances)

    def radii(self, shapes: Indices) -> Array:
        """Return by how much motions change the distances of pairs of shapes (k,), (k, n) [m/rad].

        A motion dq [rad] changes a distance by at most radii @ |dq|.
        """
        return self._radii.take(shapes, axis=0)

    def gradients(self, q: Array, corner_range: float = 0.0) -> tuple[Array, Array, Array]:
        """Return the gradients of the clearances that are below the range at q (n,) [rad].

        Args:
            q: joint positions.
            corner_range: clearance [m] below which all corners of a pair count, not the nearest
                alone.

        Returns:
            Indices of the pairs (k,), clearances (k,) [m], and gradients (k, n) [m/rad].
        """
        self._update(q)
        model, data = self._model, self._data
        shapes, distances = self._contacts()
        order = np.argsort(distances)
        order = order[: np.count_nonzero(distances < self.range)]
        pairs = self._pair_index[shapes[order]]
        is_used = distances[order] < corner_range
        is_used[np.unique(pairs, return_index=True)[1]] = True  # the nearest of each pair
        pairs, closest = pairs[is_used], order[is_used]  # (k,)
        gradients, jacobian = np.zeros((closest.size, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_comPos(model, data)
        for row, contact in enumerate(closest):
            normal, point = data.contact.frame[contact, :3], data.contact.pos[contact]
            # the normal points from the first body to the second
            bodies = model.geom_bodyid[data.contact.geom[contact]]
            for body, sign in zip(bodies, (-1.0, 1.0), strict=True):
                if body != WORLD:
                    mujoco.mj_jac(model, data, jacobian, None, point, body)
                    gradients[row] += sign * normal @ jacobian
        return pairs, distances[closest], gradients

    def _update(self, q: Array) -> None:
        self._q[:] = q
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)

    def _contacts(self) -> tuple[Indices, Array]:
        """Return the codes of the two shapes (k,) and the clearances (k,) [m] of all contacts.

        The code is the first shape times the number of shapes plus the second.
        """
        contacts = self._data.contact
        shapes = contacts.geom @ self._shape_code
        return shapes, contacts.dist - self._pair_margin.take(shapes)

    def _distances(self, q: Array) -> tuple[Indices, Array]:
        """Return the codes of two shapes (k,) and the clearance (k,) [m] of each."""
        self._update(q)
        shapes, distances = self._contacts()
        is_first = np.empty(shapes.size, bool)
        is_first[:1] = True
        np.not_equal(shapes[1:], shapes[:-1], out=is_first[1:])
        start = is_first.nonzero()[0]
        if start.size < shapes.size:
            # the nearest of several contacts of a pair, which follow each other
            shapes, distances = shapes[start], np.minimum.reduceat(distances, start)
        return shapes, distances

    def _set_pairs(self, pairs: list[BodyPair]) -> None:
        """Set the pairs to report."""
        size = self._model.ngeom
        self._pair_index = np.full(size * size, len(pairs))
        self._pair_margin = np.full(size * size, -np.inf)  # excluded: infinitely far
        for i, pair in enumerate(pairs):
            for (a, b), margin in pair.margins.items():
                codes = [a * size + b, b * size + a]
                self._pair_index[codes], self._pair_margin[codes] = i, margin
        first = [next(iter(pair.margins)) for pair in pairs]
        self.pairs = [(self._links[a], self._links[b]) for a, b in first]
        self.margins = np.array([min(pair.margins.values()) for pair in pairs])

    def _separable_pairs(self, pairs: list[BodyPair]) -> list[BodyPair]:
        """Return the pairs that can be kept apart, with their margins; note the others."""
        rng, robot = np.random.default_rng(0), self.robot
        home = self.clearances(robot.home)
        furthest = home.copy()
        for q in rng.uniform(robot.lower, robot.upper, (NUM_SAMPLES, robot.n)):
            np.maximum(furthest, self.clearances(q), out=furthest)
        separable = []
        for i, pair in enumerate(pairs):
            margin = max(pair.margins.values())
            # an arm that is in contact with an obstacle at home must still go no further into it
            if (furthest if pair.obstacle else home)[i] + margin < MIN_DISTANCE:
                self.excluded.append(self.pairs[i])
                continue
            distance = home[i] + margin
            limit = distance / 2 if distance > 0 else np.inf
            margins = {geoms: min(value, limit) for geoms, value in pair.margins.items()}
            separable.append(BodyPair(margins, pair.obstacle))
        return separable


def _body_pairs(
    model: mujoco.MjModel, shapes: list[Shape], config: CollisionConfig
) -> list[BodyPair]:
    """Return the pairs of bodies that no single joint connects.

    Args:
        model: has the geometries of the shapes and of the obstacles.
        shapes: shapes of the arm.
        config: margins.
    """
    bodies: dict[int, list[int]] = {}
    obstacles, grippers = [], set()
    for geometry in range(model.ngeom):
        name = model.geom(geometry).name
        if not name.isdigit():
            obstacles.append(geometry)
            continue
        body = int(model.geom_bodyid[geometry])
        bodies.setdefault(body, []).append(geometry)
        if shapes[int(name)].finger:
            grippers.add(body)
    pairs = []
    for body, own in bodies.items():
        if body == WORLD:
            continue
        for obstacle in obstacles:
            at_table = body in grippers and model.geom(obstacle).name == TABLE
            margin = config.gripper_margin if at_table else config.obstacle_margin
            pairs.append(BodyPair({(geometry, obstacle): margin for geometry in own}, True))
        parent = model.body_parentid[body]
        while parent != WORLD and parent not in bodies:  # a joint without a shape in between
            parent = model.body_parentid[parent]
        for other in sorted(bodies.keys() - {body, parent}):
            if other < body:
                margins = {(a, b): config.self_margin for a in bodies[other] for b in own}
                pairs.append(BodyPair(margins, False))
    return pairs
