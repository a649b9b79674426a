"""Inverse kinematics within limits; links of human-like arms and their configurations."""

import numpy as np
from synthetic_person import each_arm

from invdyn_ros.robots.inverse_kinematics import PositionIKSolver
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.arm_geometry import (
    alternative_configurations,
    human_like_arm,
)


@each_arm
def test_solver_reaches_positions_of_forward_kinematics(robot):
    """The tip position of a configuration near home is reached from home, within limits."""
    rng = np.random.default_rng(0)
    solver = PositionIKSolver(robot, (robot.tip_link,), 0.8, margin=0.02)
    for _ in range(50):
        offset = rng.uniform(-0.6, 0.6, robot.n)
        q = np.clip(robot.home + offset, robot.lower + 0.1, robot.upper - 0.1)
        target = robot.forward_kinematics(q)[:3, 3]
        solution = solver.solve(target[None], robot.home, 30)
        reached = robot.forward_kinematics(solution.q)[:3, 3]
        assert np.isclose(np.linalg.norm(reached - target), solution.residual)
        assert solution.residual < 0.005
        assert (solution.q >= robot.lower + 0.02 - 1e-9).all()
        assert (solution.q <= robot.upper - 0.02 + 1e-9).all()


def test_only_the_seven_joint_arm_is_human_like():
    iiwa = load_robot("kuka_iiwa")
    links = human_like_arm(iiwa)
    assert np.allclose((links.upper_arm, links.forearm), (0.42, 0.40), atol=1e-6)
    assert human_like_arm(load_robot("ur5")) is None
    assert human_like_arm(load_robot("dofbot")) is None


def test_alternative_configurations_keep_elbow_and_wrist():
    iiwa = load_robot("kuka_iiwa")
    q = np.array([0.4, 1.2, -0.7, 0.9, 0.2, 0.5, 0.1])
    links = human_like_arm(iiwa)
    alternatives = alternative_configurations(iiwa, q)
    assert len(alternatives) == 3
    for alternative in alternatives:
        assert np.abs(alternative - q).max() > 1
        for link in (links.elbow, links.wrist):
            a, b = (iiwa.forward_kinematics(p, link)[:3, 3] for p in (q, alternative))
            assert np.allclose(a, b, atol=1e-9)
