"""Swivel of an arm: on which side of the line from its shoulder to its hand the elbow is.

An arm with more than six joints can turn its elbow about that line without moving its hand. Its
elbow then follows the side on which the person has the elbow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.ik_tasks import SwivelTask
from invdyn_ros.robots.inverse_kinematics import IKSolution, PositionIKSolver
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_directions import unit
from invdyn_ros.teleop.arm_geometry import HumanLikeArm
from invdyn_ros.teleop.filters import RateLimiter
from invdyn_ros.teleop.hand_mapping import HandMapping

COST = 0.1
"""Cost of an arc of the elbow over that of an equal distance of the hand from its target."""
RAMP_TIME = 0.5
"""Time in which the elbow comes to count, and ceases to [s]."""
STRAIGHT, BENT = 0.1, 0.3
"""Distance of an elbow from the line, over its shorter bone, up to which it has no side, and from
which on it fully counts."""
TURN_FRACTION = 0.3
"""Fraction of the velocity limits with which joints turn the elbow about a hand at rest."""
MAX_SHIFT = 1e-3
"""Distance from its target up to which the hand may come by turning the elbow [m]."""
MAX_JOINTS = 6
"""Number of joints up to which an arm has none to spare for its elbow."""
MIN_RADIUS = 0.05
"""Distance of an arm's elbow from the line below which its side is not judged [m]."""
NUM_SAMPLES = 200  # number of random configurations from which the elbow is found


class SwivelLinks(NamedTuple):
    """Names of the links between which an arm turns its elbow."""

    shoulder: str
    elbow: str
    hand: str


def swivel_links(robot: Robot, hand: str, human_like: HumanLikeArm | None = None) -> SwivelLinks:
    """Return the links of an arm with more than six joints.

    The shoulder is the link of joint 2, the elbow that of the joint whose origin is farthest from
    the line between shoulder and hand, on average over random configurations.

    Args:
        robot: the arm.
        hand: link of its hand.
        human_like: its links, if it bends like the arm of a person.

    Raises:
        ValueError: the arm has fewer joints, so that its hand determines its elbow.
    """
    if human_like is not None:
        return SwivelLinks(human_like.shoulder, human_like.elbow, human_like.wrist)
    if robot.n <= MAX_JOINTS:
        raise ValueError(
            f"elbow is true; it must be false for '{robot.name}', which has {robot.n} joints: "
            f"an elbow turns about the hand with more than {MAX_JOINTS}"
        )
    model = robot.model()
    shoulder, *others = (model.body(model.jnt_bodyid[i]).name for i in range(1, robot.n))
    rng = np.random.default_rng(0)
    offsets = np.zeros(len(others))  # [m] sums over the configurations
    for q in rng.uniform(robot.lower, robot.upper, (NUM_SAMPLES, robot.n)):
        start, end, *points = (
            robot.forward_kinematics(q, link)[:3, 3] for link in (shoulder, hand, *others)
        )
        offsets += [np.linalg.norm(_off_line(end - start, point - start)) for point in points]
    return SwivelLinks(shoulder, others[int(offsets.argmax())], hand)


class PersonSwivel(NamedTuple):
    """Side of the person's elbow, in the base frame.

    Attributes:
        direction: (3,) unit vector from the line to the elbow.
        weight: how far the elbow counts, 0..1.
    """

    direction: np.ndarray
    weight: float


def person_swivel(mapping: HandMapping, person: np.ndarray, line: np.ndarray) -> PersonSwivel:
    """Return the side of the person's elbow, turned with the line from shoulder to hand.

    Args:
        mapping: place and size of the person's arm.
        person: (2, 3) unit directions of upper arm and forearm in the person's frame.
        line: (3,) from the shoulder of the arm to its hand [m].
    """
    elbow, hand, _ = mapping.place(person)
    own = hand - mapping.shoulder
    offset = _off_line(own, elbow - mapping.shoulder)
    extent = float(np.linalg.norm(offset)) / float(mapping.bones.min())
    turned, certainty = _turn_with(own, line, offset)
    weight = certainty * np.clip((extent - STRAIGHT) / (BENT - STRAIGHT), 0, 1)
    return PersonSwivel(unit(turned), float(weight))


def swivel_error(
    robot: Robot, links: SwivelLinks, mapping: HandMapping, person: np.ndarray, q: np.ndarray
) -> float:
    """Return the angle between the elbows of arm and person about the line [rad].

    It is NaN where the arm or the person is straight.

    Args:
        robot: the arm.
        links: those of its swivel.
        mapping: place and size of the person's arm.
        person: (2, 3) unit directions of upper arm and forearm in the person's frame.
        q: (n,) joint positions of the arm [rad].
    """
    shoulder, elbow, hand = (robot.forward_kinematics(q, link)[:3, 3] for link in links)
    line = hand - shoulder
    swivel, offset = person_swivel(mapping, person, line), _off_line(line, elbow - shoulder)
    if swivel.weight < 1 or np.linalg.norm(offset) < MIN_RADIUS:
        return np.nan
    return float(np.arccos(np.clip(swivel.direction @ unit(offset), -1, 1)))


class ElbowFollower:
    """Turn the elbow of an arm to the side of the person's, while its hand stays where it is.

    A person whose arm is straight has no such side; the elbow then turns to the side on which it
    is at home.

    Attributes:
        task: of the inverse kinematics.
        weight: how far the person's elbow counts, 0..1; it changes gradually.
    """

    def __init__(self, robot: Robot, links: SwivelLinks) -> None:
        """Create the task; the elbow is to be where it is at home."""
        self.task = SwivelTask(robot.model(), *links)
        self.task.cost = np.array([COST])
        shoulder, elbow, hand = (robot.forward_kinematics(robot.home, k)[:3, 3] for k in links)
        self._shoulder, self._home_line = shoulder, hand - shoulder
        self._home_offset = _off_line(self._home_line, elbow - shoulder)
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self.weight = 0.0
        self._person = np.zeros(3)  # last direction of the person's elbow

    def turn(
        self,
        solver: PositionIKSolver,
        targets: np.ndarray,
        solution: IKSolution,
        limiter: RateLimiter,
        dt: float,
    ) -> IKSolution:
        """Return a solution whose elbow is nearer to the direction, the hand where it was.

        Args:
            solver: inverse kinematics of the hand.
            targets: (k, 3) its targets [m].
            solution: a solution that reaches them.
            limiter: limits of the joints.
            dt: time to turn [s].
        """
        way = TURN_FRACTION * limiter.bounds.velocity * dt
        lower = np.maximum(solver.lower, solution.q - way)
        q = solver.turn(self.task, solution.q, (lower, np.minimum(solver.upper, solution.q + way)))
        residual = solver.distance(targets, q)
        is_near = residual <= max(solution.residual, MAX_SHIFT)
        return IKSolution(q, residual) if is_near else solution

    def follow(
        self, mapping: HandMapping, person: np.ndarray, hand: np.ndarray, dt: float
    ) -> None:
        """Set the direction in which the elbow is to be.

        Args:
            mapping: place and size of the person's arm.
            person: (2, 3) unit directions of upper arm and forearm in the person's frame.
            hand: (3,) target of the arm's hand [m].
            dt: time since the last image [s].
        """
        line = hand - self._shoulder
        swivel = person_swivel(mapping, person, line)
        if swivel.weight > 0:
            self._person = swivel.direction
        self.relax(dt, swivel.weight)
        at_home, _ = _turn_with(self._home_line, line, self._home_offset)
        mixed = self.weight * self._person + (1 - self.weight) * unit(at_home)
        self.task.direction = unit(mixed)

    def relax(self, dt: float, weight: float = 0.0) -> None:
        """Change how far the person's elbow counts towards `weight`, gradually, for `dt` [s]."""
        step = dt / RAMP_TIME
        self.weight += float(np.clip(weight - self.weight, -step, step))


def _turn_with(line: np.ndarray, to: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, float]:
    """Return an offset (3,) from a line (3,), turned the shortest way with it to another (3,).

    Returns:
        The offset, and how far it is defined, 0..1; the way between opposite lines is not.
    """
    first, second = unit(line), unit(to)
    defined = 1 + float(first @ second)
    turned = offset - (first + second) * float(second @ offset) / max(defined, 1e-6)
    return turned, min(defined, 1.0)


def _off_line(line: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the part (3,) of a point (3,) that is perpendicular to a line (3,)."""
    along = unit(line)
    return point - along * float(along @ point)
