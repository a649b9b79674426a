"""Comparison with mujoco.sysid: known parameters of a simulated arm, and errors from them."""

import numpy as np
import pytest
import torch
from oracle import excitation

from invdyn_ros.benchmarks.sysid import parameter_errors, plant_parameters
from invdyn_ros.models.physical_parameters import pseudo_inertias
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import load_robot


def test_parameters_of_a_simulated_arm_are_those_of_its_urdf_with_a_payload_at_the_tool():
    robot = load_robot("ur5")
    tree = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)
    ideal = plant_parameters(robot, IDEAL_PLANT)
    np.testing.assert_allclose(ideal.inertial, tree.inertial.numpy(), atol=1e-12)
    assert not ideal.friction.any()
    loaded = plant_parameters(robot, load_plant("ur5", payload=2.0, rotor_inertia=0.0))
    assert (np.linalg.eigvalsh(pseudo_inertias(loaded.inertial)) > 0).all()
    added = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)
    added.inertial.copy_(torch.from_numpy(loaded.inertial))
    q, zero = torch.from_numpy(robot.home), torch.zeros(robot.n, dtype=torch.float64)
    change = (added.torque(q, zero, zero) - tree.torque(q, zero, zero)).numpy()
    weight = np.array([0.0, 0.0, 2.0 * 9.81, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(change, robot.jacobian(robot.home).T @ weight, atol=1e-6)


def test_errors_of_parameters_are_those_of_the_torques_that_follow():
    robot, motions = load_robot("ur5"), [excitation(load_robot("ur5"), 0, seconds=1.0)]
    true = plant_parameters(robot, load_plant("ur5"))
    exact = parameter_errors(robot, true, true, motions)
    assert not any(exact.values())
    heavier = true._replace(inertial=1.1 * true.inertial, friction=1.2 * true.friction)
    errors = parameter_errors(robot, heavier, true, motions)
    assert errors["friction"] == pytest.approx(20.0) and 10 <= errors["parameters"] <= 20
    assert errors["torque of inertia"] > 1.0  # nMSE: gravity counts, whose mean is not zero
