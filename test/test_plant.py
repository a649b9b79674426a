"""Inertia of the simulated arms, and shipped models that drive them joint by joint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from invdyn_ros.arms.pybullet_arm import add_arm, apply_plant
from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.plant import IDEAL_PLANT, PlantConfig
from invdyn_ros.robots.registry import ROBOTS, load_plant
from invdyn_ros.robots.robot import Robot, load_robot, package_file
from invdyn_ros.robots.urdf import load_urdf

CHECKPOINTS = sorted(path.name for path in package_file("config/checkpoints").iterdir())

TWO_JOINTS = """<robot name="two_joints">
<link name="base"/>
<link name="upper"><inertial><origin xyz="0.2 0 0.03" rpy="0 0 0.4"/><mass value="2.0"/>
<inertia ixx="0.01" iyy="0.03" izz="0.02" ixy="0" ixz="0" iyz="0"/></inertial></link>
<link name="hand"><inertial><origin xyz="0 0 0.1" rpy="{rpy}"/><mass value="0.5"/>
<inertia ixx="0.002" iyy="0.003" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
<origin xyz="0 0 0.5" rpy="0.3 0.2 0.1"/><axis xyz="0 0 1"/>
<limit lower="-3" upper="3" velocity="2" effort="40"/></joint>
<joint name="wrist" type="revolute"><parent link="upper"/><child link="hand"/>
<origin xyz="0.4 0 0" rpy="1.2 0 0"/><axis xyz="{axis}"/>
<limit lower="-3" upper="3" velocity="2" effort="10"/></joint>
</robot>"""


def response_mass_matrix(robot: Robot, plant: PlantConfig, q: np.ndarray) -> np.ndarray:
    """Return the inertia (n, n) that one short push of each joint at rest shows."""
    client, dt = connect(), 1e-4
    client.setTimeStep(dt)  # without gravity
    arm = add_arm(client, robot, IDEAL_PLANT)
    apply_plant(client, arm, robot, plant)
    inverse = []
    client.setJointMotorControlArray(
        arm.body_id, arm.joints, client.VELOCITY_CONTROL, forces=[0.0] * robot.n
    )
    for push in 0.1 * np.diag(robot.effort):
        for joint, position in zip(arm.joints, q, strict=True):
            client.resetJointState(arm.body_id, joint, position, 0.0)
        client.setJointMotorControlArray(
            arm.body_id, arm.joints, client.TORQUE_CONTROL, forces=push.tolist()
        )
        client.stepSimulation()
        qd = [state[1] for state in client.getJointStates(arm.body_id, arm.joints)]
        inverse.append(np.array(qd) / dt / push.sum())
    client.disconnect()
    return np.linalg.inv(np.stack(inverse, axis=1))


def expected_mass_matrix(robot: Robot, plant: PlantConfig, q: np.ndarray) -> np.ndarray:
    """Return the inertia (n, n) of the URDF plus that of the rotors and of the payload."""
    tree = load_urdf(robot.urdf)
    M, joints = robot.mass_matrix(q), [tree.joints[name] for name in robot.joint_names]
    frames = [robot.forward_kinematics(q, joint.child) for joint in joints]
    axes = np.array([T[:3, :3] @ joint.axis for T, joint in zip(frames, joints, strict=True)])
    for i, rotor in enumerate(plant.rotor_inertia * robot.effort):  # turns with its link
        about_axis = axes @ axes[i] * (np.arange(robot.n) <= i)  # (n,)
        M += rotor * np.outer(about_axis, about_axis)
    T_base_tip = robot.forward_kinematics(q)
    origin = tree.links[robot.tip_link].find("inertial/origin")
    offset = "0 0 0" if origin is None else origin.get("xyz")
    centre = T_base_tip @ [*map(float, offset.split()), 1.0]
    linear = np.cross(axes, centre[:3] - np.array([T[:3, 3] for T in frames]))  # (n, 3)
    return M + plant.payload * (linear @ linear.T + 1e-4 * axes @ axes.T)


@pytest.mark.parametrize("arm", list(ROBOTS))
def test_inertia_of_the_plant_is_that_of_urdf_rotors_and_payload(arm: str) -> None:
    robot, plant = load_robot(arm), replace(load_plant(arm, payload=0.3), viscous=0.0)
    q = robot.home + 0.2
    expected = expected_mass_matrix(robot, plant, q)
    measured = response_mass_matrix(robot, plant, q)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(measured / scale, expected / scale, atol=0.02)  # fingers slide


@pytest.mark.parametrize("axis", ["0 0 1", "0 1 0", "1 0 0"])
@pytest.mark.parametrize("payload", [0.0, 0.7])
def test_inertia_is_complete_where_the_tip_is_a_moving_link(
    axis: str, payload: float, tmp_path: Path
) -> None:
    """Two plants in a row replace each other."""
    (tmp_path / "two.urdf").write_text(TWO_JOINTS.format(axis=axis, rpy="0 0 0"))
    robot = load_robot("two", tmp_path / "two.urdf")
    plant = PlantConfig(payload=payload, viscous=0.0, rotor_inertia=0.01)
    expected = expected_mass_matrix(robot, plant, np.array([0.3, -0.5]))
    measured = response_mass_matrix(robot, plant, np.array([0.3, -0.5]))
    np.testing.assert_allclose(measured, expected, atol=2e-3 * expected.max())


def test_rotor_of_an_oblique_joint_is_complete_about_its_axis(tmp_path: Path) -> None:
    (tmp_path / "two.urdf").write_text(TWO_JOINTS.format(axis="0.6 0 0.8", rpy="0.5 0.3 0"))
    robot = load_robot("two", tmp_path / "two.urdf")
    plant = PlantConfig(viscous=0.0, rotor_inertia=0.01)
    with_rotor, without = (
        response_mass_matrix(robot, replace(plant, rotor_inertia=r), np.zeros(2))[1, 1]
        for r in (0.01, 0.0)
    )
    assert with_rotor - without == pytest.approx(0.01 * robot.effort[1], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_shipped_model_drives_each_joint_of_its_arm(checkpoint: str) -> None:
    """Each joint in turn goes 0.3 rad to each side and back, on the plant of the arm."""
    robot = load_robot(checkpoint.removesuffix("_position"))
    model = load_runtime(package_file("config/checkpoints") / checkpoint, "cpu", robot)
    unit, zero = model.meta.action_unit, np.zeros(robot.n)
    controller = ArmController(
        robot, model, unit, model.meta.action_delay, fallback=fallback_from_metadata(model.meta)
    )
    controller.engage(True)
    errors, reasons = [], set()
    with Simulation(robot, load_plant(robot.name), unit) as simulation:
        for joint, shift in ((j, s) for j in range(robot.n) for s in (0.3, -0.3)):
            goal = robot.home.copy()
            goal[joint] += shift
            goal = np.clip(goal, robot.lower + 0.05, robot.upper - 0.05)
            for tick in range(round(0.6 * robot.rate)):
                sample = simulation.state()
                if tick % 5 == 0:
                    controller.set_target(Target(sample.time, State(goal, zero, zero), 0.0))
                command = controller.update(MeasuredState(sample.time, sample.q, sample.qd))
                assert command.action is not None and command.desired is not None, command.reason
                reasons.add(command.reason)
                q, qd = simulation.true_state()
                errors.append(q - command.desired.q)
                assert (np.abs(qd) <= robot.velocity).all()
                simulation.step(command.action)
        assert simulation.contact_ticks == 0
    # the largest steps are as fast as the tool may be; nothing else may hold the arm
    transient = {"waiting for the first torque to arrive", "tool speed"}
    assert reasons - transient <= {None, "model uncertain: rigid-body fallback"}
    assert np.sqrt(np.mean(np.square(errors))) <= 5e-3
