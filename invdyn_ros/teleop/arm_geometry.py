"""Geometry of an arm for retargeting: human-like links and reach."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.robot import Robot

NUM_SAMPLES = 2000  # number of random configurations from which the reach is estimated


class HumanLikeArm(NamedTuple):
    """Names of the links at shoulder, elbow and wrist of a seven-joint arm, and its lengths."""

    shoulder: str
    elbow: str
    wrist: str
    upper_arm: float  # [m] shoulder to elbow
    forearm: float  # [m] elbow to wrist


def human_like_arm(robot: Robot) -> HumanLikeArm | None:
    """Return shoulder, elbow and wrist of an arm that bends like that of a person.

    Their distances are constant, the elbow lies on the axis of joint 3 and the wrist on that of
    joint 5. Offsets, such as those of a Panda, would bend the upper arm and the forearm.

    Returns:
        The links of joints 2, 4 and 6 of a seven-joint arm; None for an arm of another structure.
    """
    if robot.n != 7:
        return None
    model = robot.model()
    links = [model.body(model.jnt_bodyid[i]).name for i in (1, 3, 5)]
    rng = np.random.default_rng(0)
    configurations = [robot.home, *rng.uniform(robot.lower, robot.upper, (8, robot.n))]
    points = np.array([
        [robot.forward_kinematics(q, link)[:3, 3] for link in links] for q in configurations
    ])  # fmt: skip
    lengths = np.linalg.norm(np.diff(points, axis=1), axis=2)  # (9, 2)
    rigid = np.ptp(lengths, axis=0).max() < 1e-6 and np.ptp(points[:, 0], axis=0).max() < 1e-6
    for joint, link in ((2, links[1]), (4, links[2])):
        turned = np.array(configurations[0])
        turned[joint] += 1.0 if turned[joint] < 0 else -1.0
        first, second = (robot.forward_kinematics(q, link) for q in (configurations[0], turned))
        rigid = rigid and np.linalg.norm(first[:3, 3] - second[:3, 3]) < 1e-6
    return HumanLikeArm(*links, *lengths[0]) if rigid and lengths.min() > 0.05 else None


def alternative_configurations(robot: Robot, q: np.ndarray) -> list[np.ndarray]:
    """Return the other configurations of a human-like arm with the same elbow and wrist.

    Shoulder and elbow each have two solutions, which are turned by 180 deg and bent the other way.
    Configurations outside the joint limits are omitted.

    Args:
        robot: a human-like arm.
        q: (7,) joint positions [rad].
    """
    joints = {"shoulder": (0, 1, 2), "elbow": (2, 3, 4)}
    configurations = []
    for flipped in (("shoulder",), ("elbow",), ("shoulder", "elbow")):
        alternative = np.array(q, dtype=float)
        for first, middle, second in (joints[name] for name in flipped):
            alternative[middle] = -alternative[middle]
            for joint in (first, second):
                alternative[joint] -= np.copysign(np.pi, alternative[joint])
        if ((alternative >= robot.lower) & (alternative <= robot.upper)).all():
            configurations.append(alternative)
    return configurations


def measure_reach(robot: Robot, link: str) -> tuple[np.ndarray, float]:
    """Estimate how far a link reaches from the shoulder, the origin of joint 2.

    Args:
        robot: the arm.
        link: name of the link.

    Returns:
        Position of the shoulder (3,) in the base frame at the home position [m], and 99th
        percentile of the distance over random configurations [m].
    """
    model = robot.model()
    shoulder = robot.forward_kinematics(
        robot.home, model.body(model.jnt_bodyid[min(1, robot.n - 1)]).name
    )[:3, 3]
    rng = np.random.default_rng(0)
    configurations = rng.uniform(robot.lower, robot.upper, (NUM_SAMPLES, robot.n))
    tips = np.array([robot.forward_kinematics(q, link)[:3, 3] for q in configurations])
    return shoulder, float(np.percentile(np.linalg.norm(tips - shoulder, axis=1), 99))
