"""Inverse kinematics within limits; links of human-like arms and their configurations."""

import numpy as np
from synthetic_person import each_arm

from invdyn_ros.robots.ik_tasks import mink
from invdyn_ros.robots.inverse_kinematics import DifferentialIK, PositionIKSolver
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


class ConstantTask(mink.Task):
    def __init__(self, jacobian, error):
        super().__init__(cost=np.ones(len(error)))
        self.jacobian, self.error = jacobian, error

    def compute_jacobian(self, _):
        return self.jacobian

    def compute_error(self, _):
        return self.error


class ConstantLimit(mink.Limit):
    def __init__(self, normals, bounds):
        self.normals, self.bounds = normals, bounds

    def compute_qp_inequalities(self, _, dt):
        return mink.Constraint(self.normals, self.bounds)


# [1e-6] of an arm between table and itself, which the solver took for without solution
NORMALS = [
    [1000000, 0, 0, 0, 0, 0],
    [0, 47568, 339664, 35263, 9247, 0],
    [8, 67523, 401281, 98113, 18095, 0],
    [0, 0, 111065, 58655, 207, 0],
    [0, -48992, 243103, -61298, 94353, -43669],
    [4, -17109, 275014, -29409, 42142, -952],
    [0, 43, 338, 124, -44547, -791],
    [0, 0, -1962, -158, 64621, 1278],
]
BOUNDS = [500000, 0, 2830, 0, 0, 0, 0, 0]
HESSIAN = [
    [11074, -3539, -10690, -4960, -20554, 0],
    [-3539, 25024, 36474, 32450, 6781, 0],
    [-10690, 36474, 230739, 60333, 62366, 0],
    [-4960, 32450, 60333, 45977, 12523, 0],
    [-20554, 6781, 62366, 12523, 55429, 0],
    [0, 0, 0, 0, 0, 1095],
]
GRADIENT = [-22014, -81062, -201486, -117338, 27075, -14]


def test_rounding_does_not_keep_an_arm_in_a_corner_from_its_best_step():
    hessian, gradient, normals, bounds = (
        1e-6 * np.array(a, float) for a in (HESSIAN, GRADIENT, NORMALS, BOUNDS)
    )
    jacobian = np.linalg.cholesky(hessian).T
    task = ConstantTask(jacobian, np.linalg.solve(jacobian.T, gradient))
    solver = DifferentialIK(load_robot("ur5"), [task], posture_cost=0.0, margin=0.0)
    solver.posture.set_target(solver.robot.home)
    step = solver.compute_step([ConstantLimit(normals, bounds)])
    assert (normals @ step <= bounds + 2e-5).all()
    assert abs(step[0] - 0.5) < 1e-4, "along the only free joint"


def test_contradictory_limits_stop_an_arm():
    task = ConstantTask(np.eye(6), np.ones(6))
    solver = DifferentialIK(load_robot("ur5"), [task], posture_cost=0.0, margin=0.0)
    solver.posture.set_target(solver.robot.home)
    limit = ConstantLimit(np.array([np.ones(6), -np.ones(6)]), np.array([-1.0, -1.0]))
    assert not solver.compute_step([limit]).any()
