"""Descriptions of drivers: files, limits, torques without gravity, grippers, and their graph."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from oracle import robot
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from invdyn_ros.graph.graph import resolve
from invdyn_ros.nodes.gripper import GripperNode
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.robots.driver import GripperInterface, load_driver, shipped_driver
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.robots.robot_description import description_problem

FORWARD = shipped_driver("forward_controller")
SHIPPED = [(spec.driver, name) for name, spec in ROBOTS.items() if spec.driver]
ANY = [(file, name) for file in ("forward_controller", "joint_trajectory") for name in ROBOTS]


def write(folder, base="forward_controller", **changes):
    """Write a description with changes; a value None leaves a field out."""
    values = yaml.safe_load(shipped_driver(base).read_text()) | changes
    file = folder / "driver.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return file


@pytest.mark.parametrize(("name", "arm"), [*SHIPPED, *ANY])
def test_shipped_description_fits_its_arm(name, arm):
    driver = load_driver(shipped_driver(name), robot(arm))
    interface = driver.interface("rad")
    kind = "joint_trajectory" if interface.takes_trajectories else "commands"
    assert interface.topic == f"{interface.controller}/{kind}"
    assert driver.limited(robot(arm)) is robot(arm)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"package": None}, "field 'package' of DriverConfig is missing"),
        ({"topics": {}}, "unknown field 'topics'"),
        ({"position": None, "effort": None}, "takes no commands"),
        ({"position": {"topic": "a b"}}, r"position.topic is 'a b'"),
        ({"position": {"topic": "a", "gravity_compensated": True}}, "is for torques"),
        ({"effort": {"topic": "a", "takes_goals": True}}, "are for setpoints"),
        ({"position": {"topic": "a", "takes_goals": True, "takes_trajectories": True}}, "one of"),
        ({"controller_manager": ""}, "is given, but no controller_manager"),
        ({"controller_manager": "my manager"}, "controller_manager is 'my manager'"),
        ({"joints": {"elbow": "j3"}}, r"joints has \['elbow'\]; the arm has"),
        ({"joints": {"elbow_joint": "wrist_1_joint"}}, "two joints have the same name"),
        ({"limits": {"velocity": [1.0]}}, "limits.velocity has 1 values for 6 joints"),
        ({"limits": {"upper": [9.0] * 6}}, "limits.upper of shoulder_pan_joint is 9, wider than"),
        ({"limits": {"effort": [-1.0] * 6}}, "effort limit of 'shoulder_pan_joint' is -1"),
        ({"gripper": {"kind": "hand", "name": "g"}}, "kind"),
        ({"gripper": {"kind": "topic", "name": "g", "open_position": 1.0}}, "are both 1.0"),
        ({"conditions": [{"name": "p", "topic": "p", "type": "Bool", "accepted": []}]}, "type"),
    ],
)
def test_wrong_description_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as info:
        load_driver(write(tmp_path, **changes), robot("ur5"))
    assert "\n" not in str(info.value) and "driver.yaml" in str(info.value)


def test_limits_of_the_driver_are_those_of_the_arm(tmp_path):
    arm, velocity = robot("ur5"), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    driver = load_driver(write(tmp_path, limits={"velocity": velocity}), arm)
    limited = driver.limited(arm)
    assert limited.velocity.tolist() == velocity and (limited.upper == arm.upper).all()


def test_robot_description_must_not_allow_less(tmp_path):
    arm = robot("ur5")
    text, names = arm.urdf.read_text(), arm.joint_names
    assert description_problem(arm, names, text) is None
    assert "lacks ['left_elbow_joint']" in str(
        description_problem(arm, [*names[:2], "left_elbow_joint"], text)
    )
    narrow = text.replace('lower="-6.28', 'lower="-3.14')
    assert "limits lower of" in str(description_problem(arm, names, narrow))
    assert "cannot be read" in str(description_problem(arm, names, "<robot"))
    other = robot("ur10").urdf.read_text()
    assert "shoulder_lift_joint and elbow_joint are 0.612 m apart, those of ur5 0.425 m" in str(
        description_problem(arm, names, other)
    )
    fixed = text.replace('name="elbow_joint" type="revolute"', 'name="elbow_joint" type="fixed"')
    assert fixed != text and "lacks ['elbow_joint']" in str(description_problem(arm, names, fixed))


def test_driver_that_compensates_gravity_gets_torques_without_it():
    arm = robot("ur5e")
    q, qd, qdd = np.random.default_rng(0).uniform(-1, 1, (3, arm.n))
    still = np.zeros(arm.n)
    driver = load_driver(shipped_driver("ur5e"), arm)
    torque = arm.inverse_dynamics(q, qd, qdd)
    sent = driver.interface("N m").command(arm, torque, q)
    assert np.allclose(sent + arm.inverse_dynamics(q, still, still), torque)
    assert driver.interface("rad").command(arm, q, q) is q
    other = load_driver(FORWARD, arm).interface("N m")
    assert other.command(arm, torque, q) is torque


def test_gripper_positions_are_linear_in_the_opening():
    gripper = GripperInterface("topic", "g", "knuckle", open_position=0.0, closed_position=0.8)
    assert gripper.position(0.085, 0.085) == 0.0 and gripper.position(0.0, 0.085) == 0.8
    for opening in (0.0, 0.01, 0.085):
        assert np.isclose(gripper.opening(gripper.position(opening, 0.085), 0.085), opening)
    assert gripper.position(1.0, 0.085) == 0.0 and gripper.opening(2.0, 0.085) == 0.0


def test_joints_of_the_map_have_the_names_of_the_driver():
    names = NamesConfig(tf_prefix="left_", joint_map="elbow_joint=j3 wrist_1_joint=j4")
    joints = RobotNames.of(robot("ur5"), names).joint_names
    assert joints[2:5] == ("j3", "j4", "left_wrist_2_joint")
    with pytest.raises(ValueError, match="joint_map"):
        NamesConfig(joint_map="elbow_joint")


def checkpoint(folder, arm, unit):
    (folder / "meta.json").write_text(json.dumps({"robot": arm, "action_unit": unit}))
    return str(folder)


def test_graph_of_a_real_arm_has_its_driver_and_gripper(tmp_path):
    for graph in ("teleop", "grasp_sim"):
        specs = {s.name: s for s in resolve(graph, {"arm": "ur5e", "target": "real"})}
        file = str(shipped_driver("ur5e"))
        assert specs["inverse_dynamics"].parameters["driver"] == file
        assert ("gripper" in specs) == (graph == "grasp_sim")
    assert specs["gripper"].parameters == {"arm": "ur5e", "driver": file}
    own = write(tmp_path)
    values = {"target": "real", "arm": "kuka_iiwa", "driver": str(own)}
    (spec,) = (s for s in resolve("teleop", values) if s.name == "inverse_dynamics")
    assert spec.parameters["driver"] == str(own)
    own = write(
        tmp_path,
        joint_states="my/joints",
        position={"topic": "my/positions", "controller": "mine"},
        joints={"lbr_iiwa_joint_1": "j1"},
    )
    renamed = {"joint_states": "my/joints", "forward_position_controller/commands": "my/positions"}
    for spec in resolve("teleop", {**values, "tf_prefix": "left_"}):
        assert spec.remappings == renamed
        joints = spec.parameters.get("joint_map")
        assert (joints == "lbr_iiwa_joint_1=j1") == ("tf_prefix" in spec.parameters)
    own = write(tmp_path)
    specs = resolve("teleop", {**values, "arm": "dofbot"})
    assert "dofbot" not in {s.name for s in specs}, "a driver of the user replaces the own one"


def test_wrong_driver_is_refused_before_any_node_starts(tmp_path):
    for values, message in (
        ({"arm": "kuka_iiwa"}, "no driver for a real kuka_iiwa; give driver:=FILE.yaml"),
        ({"driver": "none.yaml"}, "none.yaml"),
        ({"driver": str(write(tmp_path, package=None))}, "'package'"),
        ({"driver": "x.yaml", "target": "sim"}, "driver:=x.yaml needs target:=real"),
        ({"checkpoint": checkpoint(tmp_path, "ur5", "N m")}, "a real ur5 takes 'rad'"),
    ):
        with pytest.raises(ValueError, match=message):
            resolve("teleop", {"target": "real", **values})
    torques = {"arm": "ur5e", "checkpoint": checkpoint(tmp_path, "ur5e", "N m")}
    assert resolve("teleop", {"target": "real", **torques})


def test_gripper_node_passes_openings_on_and_positions_back(start_node, tmp_path):
    interface = {"kind": "topic", "name": "gripper_controller/commands", "joint": "knuckle"}
    file = write(tmp_path, gripper=interface | {"closed_position": 0.8})
    topics = [("/gripper_controller/commands", Float64MultiArray), ("/joint_states", JointState)]
    probe, sent, joints = start_node(GripperNode, topics, arm="ur5e", driver=file)
    command = probe.advertise("/gripper/command", Float64MultiArray)
    for opening in (0.085, 0.0, 0.0002):
        command.publish(Float64MultiArray(data=[opening]))
    probe.wait_until(lambda: len(sent) >= 2)
    assert [list(m.data) for m in sent] == [[0.0], [0.8]]
    states = probe.advertise("/joint_states", JointState)
    states.publish(JointState(name=["knuckle"], position=[0.4]))
    probe.wait_until(lambda: any("finger_left_joint" in m.name for m in joints))
    fingers = next(m for m in joints if "finger_left_joint" in m.name)
    assert np.isclose(sum(fingers.position), 0.085 / 2)


def test_gripper_without_its_messages_says_what_to_install(start_node, tmp_path):
    file = write(tmp_path, gripper={"kind": "digital_output", "name": "set_io"})
    probe, joints = start_node(
        GripperNode, [("/joint_states", JointState)], arm="ur5e", driver=file
    )
    command = probe.advertise("/gripper/command", Float64MultiArray)
    command.publish(Float64MultiArray(data=[0.0]))
    node = probe.tested_node
    probe.wait_until(lambda: "ur_msgs is not installed; install ros-" in str(node.hold_reason))
    probe.wait_until(lambda: joints)
    assert np.isclose(sum(joints[-1].position), 0.085), "open until it is commanded"


def test_node_sends_torques_without_gravity_to_the_controller_of_the_driver(start_node, tmp_path):
    from node_probe import CHECKPOINTS, state

    arm = robot("ur5e")
    topic = "/forward_effort_controller/commands"
    probe, sent = start_node(
        InverseDynamicsNode,
        [(topic, Float64MultiArray)],
        arm="ur5e",
        checkpoint=CHECKPOINTS / "ur5e",
        driver=shipped_driver("ur5e"),
        engaged=True,
        joint_state_timeout=1.0,
        max_gap=60.0,
    )
    states = probe.advertise("/joint_states", JointState)
    import time

    def publish():
        states.publish(state(time.time_ns(), arm.home))
        return sent

    probe.wait_until(publish)
    still = np.zeros(arm.n)
    gravity = arm.inverse_dynamics(arm.home, still, still)
    assert np.abs(np.array(sent[0].data)).max() < 0.1 * np.abs(gravity).max()
    assert any(sent[-1].data)
    probe.wait_until(lambda: "joint states stopped" in str(probe.tested_node.fault))
    probe.wait_until(lambda: not any(sent[-1].data))  # else the controller keeps the last torque
