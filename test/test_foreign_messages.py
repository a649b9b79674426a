"""Whatever arrives on a topic, each node goes on and says once what it cannot use."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseArray
from message_mutations import mutate
from node_probe import (
    EFFORT,
    IMAGES,
    MODEL,
    SIMULATED,
    START,
    STATES,
    TARGETS,
    TICK,
    UR5,
    UR5_NAMES,
    state,
)
from sensor_msgs.msg import Image, JointState, PointCloud2
from servo_board import ServoBoard
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.nodes.blocks import BlocksNode
from invdyn_ros.nodes.camera_info import camera_info_message
from invdyn_ros.nodes.dofbot import DofbotNode
from invdyn_ros.nodes.grasp import GraspNode
from invdyn_ros.nodes.images import image_to_message
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import (
    block_to_message,
    command_to_message,
    landmarks_to_cloud,
    poses_to_message,
    target_to_message,
    to_stamp,
)
from invdyn_ros.nodes.pose import PoseNode
from invdyn_ros.nodes.retarget import RetargetNode
from invdyn_ros.nodes.scene_camera import SceneCameraNode
from invdyn_ros.nodes.simulator import SimulatorNode
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.registry import load_scene

COUNT = 120  # messages on each topic
POSE = np.array([0.4, 0.0, 0.02]), np.array([0.0, 0.0, 0.0, 1.0])
LANDMARKS = np.random.default_rng(1).normal(size=(33, 4))
INTRINSICS = CameraIntrinsics(load_scene("ur5").camera.intrinsics())
STILL = np.zeros(6)


def image(stamp, encoding="rgb8"):
    message = image_to_message(np.full((48, 64, 3), 99, np.uint8), stamp, "camera")
    message.encoding = encoding
    return message


def markers(stamp):
    header = Header(stamp=stamp, frame_id="camera")
    cube = Marker(header=header, ns="blocks", id=0, type=Marker.CUBE)
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL), cube])


def joint_target(stamp):
    target = Target(0.0, State(UR5.home + 0.1, STILL, STILL), 0.0)
    return target_to_message(target, UR5_NAMES, stamp)


VALID = {
    STATES: lambda stamp: joints_to_message(UR5_NAMES, stamp, UR5.home, 0.08, STILL, STILL),
    TARGETS: joint_target,
    IMAGES: image,
    "/pose/landmarks": lambda stamp: landmarks_to_cloud(LANDMARKS, Header(stamp=stamp)),
    "/camera/camera_info": lambda s: camera_info_message(INTRINSICS, (64, 48), s, "camera"),
    "/blocks/markers": markers,
    "/blocks/block_0": lambda stamp: block_to_message(
        *POSE, 1e-6 * np.eye(6), Header(stamp=stamp, frame_id=UR5.base_link)
    ),
    "/sim/objects": lambda stamp: poses_to_message([POSE], stamp, UR5.base_link),
    EFFORT: lambda stamp: command_to_message(np.zeros(6), 0),
    "/forward_position_controller/commands": lambda stamp: command_to_message(np.zeros(5), 0),
    "/gripper/command": lambda stamp: command_to_message(np.array([0.05]), 0),
}
# node, its parameters, and a topic on which it outputs valid messages
NODES = {
    "inverse_dynamics": (
        InverseDynamicsNode,
        {**MODEL, "engaged": True},
        (EFFORT, Float64MultiArray),
    ),
    "retarget": (RetargetNode, {"lockstep": True}, (TARGETS, JointTrajectory)),
    "grasp": (GraspNode, {}, (TARGETS, JointTrajectory)),
    "blocks": (BlocksNode, {}, ("/blocks/markers", MarkerArray)),
    "scene_camera": (SceneCameraNode, {"lockstep": True}, (IMAGES, Image)),
    "pose": (PoseNode, {"lockstep": True}, ("/pose/landmarks", PointCloud2)),
    "simulator": (SimulatorNode, SIMULATED, (STATES, JointState)),
    "dofbot": (lambda: DofbotNode(ServoBoard(time.monotonic)), {}, (STATES, JointState)),
}


@pytest.mark.parametrize("name", NODES)
def test_node_survives_mutated_messages_and_outputs_the_next_valid_one(start_node, capfd, name):
    make, parameters, (output, kind) = NODES[name]
    probe = start_node(make, **parameters)
    outputs, node = probe.subscribe(output, kind, 10), probe.tested_node
    subscribed = {s.topic_name: s.msg_type for s in node.subscriptions if s.topic_name in VALID}
    publishers = {topic: probe.advertise(topic, kind) for topic, kind in subscribed.items()}
    rng, stamps = np.random.default_rng(0), itertools.count(START, TICK)
    for _ in range(COUNT if name != "pose" else 10):
        for topic, publisher in publishers.items():
            publisher.publish(mutate(VALID[topic](to_stamp(next(stamps))), rng))
        probe.executor.spin_once(timeout_sec=0.002)
    probe.wait_until(lambda: set(node.ignored_counts) == set(publishers))
    assert sum(node.ignored_counts.values()) > len(publishers)
    count = len(outputs)

    def has_output():
        stamp = to_stamp(START + time.monotonic_ns())
        if node.fault is not None:  # mutated joint states are faults of an engaged arm
            request = SetBool.Request(data=True)
            probe.call_service(SetBool, "/inverse_dynamics/engage", request)
        for topic, publisher in publishers.items():
            publisher.publish(VALID[topic](stamp))
        return len(outputs) > count

    probe.wait_until(has_output)
    lines = [line for line in capfd.readouterr().err.splitlines() if "]: message on " in line]
    reasons = {line.split("]: ")[1] for line in lines}
    assert 0 < len(lines) == len(reasons) < 0.6 * sum(node.ignored_counts.values())


FOREIGN_STATES = {
    "of a gripper": JointState(name=["knuckle_joint"], position=[0.1]),
    "without a joint": state(START, UR5.home[:5], names=UR5.joint_names[:5]),
    "with a joint twice": state(START, UR5.home, names=("wrist_1_joint", *UR5.joint_names[1:])),
    "with a position less": JointState(name=list(UR5.joint_names), position=[0.0] * 5),
    "with a velocity less": state(START, qd=np.zeros(5)),
    "empty": JointState(),
}
FOREIGN_TARGETS = {
    "for one joint": JointTrajectory(joint_names=["elbow_joint"]),
    "empty": JointTrajectory(),
}


def test_joint_states_and_targets_of_other_devices_do_not_stop_the_arm(start_node, capfd):
    probe, commands = start_node(
        InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **MODEL, engaged=True
    )
    states = probe.advertise(STATES, JointState)
    targets = probe.advertise(TARGETS, JointTrajectory)
    node = probe.tested_node

    def run_until(condition):
        def publish():
            states.publish(state(START + time.monotonic_ns()))
            return condition()

        probe.wait_until(publish)

    run_until(lambda: len(commands) > 3)
    for foreign in FOREIGN_STATES.values():
        for _ in range(3):
            count = len(commands)
            states.publish(foreign)
            run_until(lambda count=count: len(commands) > count + 1)
    for foreign in FOREIGN_TARGETS.values():
        targets.publish(foreign)
        probe.executor.spin_once(timeout_sec=0.01)
    probe.wait_until(lambda: node.ignored_counts[TARGETS])
    assert node.ignored_counts[STATES] <= 3 * len(FOREIGN_STATES) and node.fault is None
    lines = [line for line in capfd.readouterr().err.splitlines() if "ignored: " in line]
    assert len(lines) == len(set(lines)) <= len(FOREIGN_STATES) + len(FOREIGN_TARGETS)
    assert sum("knuckle_joint" in line for line in lines) <= 1


@pytest.mark.parametrize(("qd", "num_velocities"), [(np.full(6, np.nan), 0), (np.ones(6), 6)])
def test_velocity_of_an_absent_interface_is_not_measured(start_node, qd, num_velocities):
    """ros2_control publishes NaN for interfaces that the hardware does not have."""
    probe = start_node(InverseDynamicsNode, **MODEL)
    states, node = probe.advertise(STATES, JointState), probe.tested_node
    states.publish(state(START, qd=qd))
    probe.wait_until(lambda: node.measured is not None)
    assert node.measured[1].qd.size == num_velocities


def test_objects_of_another_scene_are_ignored(start_node):
    probe = start_node(SceneCameraNode)
    probe.advertise("/sim/objects", PoseArray).publish(PoseArray())
    probe.wait_until(lambda: probe.tested_node.ignored_counts["/sim/objects"] == 1)
