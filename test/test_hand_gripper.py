"""Gripper by hand in the graph: messages, the retarget node, launch arguments, figures."""

import numpy as np
import pytest
from graph_specs import nodes, resolve
from node_probe import START, STATES, UR5, state
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Float64MultiArray, Header
from synthetic_person import FORWARD, with_noise

from invdyn_ros.benchmarks.scripted_hand import scripted_hand
from invdyn_ros.nodes.hand_messages import cloud_to_hand, hand_to_cloud
from invdyn_ros.nodes.messages import ForeignMessage, command_stamp, landmarks_to_cloud, to_stamp
from invdyn_ros.nodes.retarget import RetargetNode

PERIOD = 50_000_000  # [ns] of the images
OPEN, FIST = scripted_hand(), scripted_hand(fist=1)


def header(k):
    return Header(stamp=to_stamp(START + k * PERIOD))


def test_hand_survives_the_way_through_a_message():
    np.testing.assert_allclose(cloud_to_hand(hand_to_cloud(FIST, Header())), FIST, atol=1e-7)
    assert cloud_to_hand(hand_to_cloud(None, Header())) is None


@pytest.mark.parametrize(
    ("hand", "change", "message"),
    [
        (FIST[:20], {}, "a hand has 21 landmarks, the cloud has 20 points"),
        (FIST, {"width": 22}, "the cloud has 22 points"),
        (FIST, {"point_step": 16}, "a hand needs packed fields x, y, z"),
        (np.full((21, 3), np.nan), {}, "the landmarks of the hand are not finite"),
    ],
)
def test_message_that_is_no_hand_is_refused(hand, change, message):
    cloud = hand_to_cloud(hand, Header())
    for name, value in change.items():
        setattr(cloud, name, value)
    with pytest.raises(ForeignMessage, match=message):
        cloud_to_hand(cloud)


def test_fist_of_the_followed_person_closes_the_gripper_and_every_state_is_answered(start_node):
    parameters = {"gripper": "hand", "lockstep": True, "target_rate": 20.0, "side": "right"}
    probe, commands = start_node(
        RetargetNode, [("/gripper/command", Float64MultiArray)], **parameters
    )
    states, clouds, hands = (
        probe.advertise(STATES, JointState),
        probe.advertise("/pose/landmarks", PointCloud2),
        probe.advertise("/pose/right_hand", PointCloud2),
    )
    node = probe.tested_node

    def opening(k, landmarks, hand):
        states.publish(state(START + k * PERIOD))
        hands.publish(hand_to_cloud(hand, header(k)))
        clouds.publish(landmarks_to_cloud(landmarks, header(k)))
        stamp = START + k * PERIOD
        probe.wait_until(lambda: command_stamp(commands[-1]) == stamp if commands else False)
        return commands[-1].data[0]

    widest = UR5.gripper.max_opening
    states.publish(state(START - PERIOD))
    probe.wait_until(lambda: node.measured is not None)
    for k in range(12):  # the person is not followed yet
        assert opening(k, with_noise(FORWARD, k), FIST if k < 8 else OPEN) == widest
    assert opening(12, with_noise(FORWARD, 12), FIST) == widest, "after one image"
    assert opening(13, with_noise(FORWARD, 13), FIST) == 0.0
    assert node.diagnostic_values["gripper"] == "closed"
    assert opening(14, None, OPEN) == opening(15, None, OPEN) == 0.0, "lost means hold"
    states.publish(state(START + 15 * PERIOD + PERIOD // 2))  # between two images
    probe.wait_until(lambda: command_stamp(commands[-1]) == START + 15 * PERIOD + PERIOD // 2)
    assert commands[-1].data[0] == 0.0


def test_scene_with_blocks_brings_gripper_tool_and_demonstrations(tmp_path):
    resolved = nodes("teleop", camera="none", scene="blocks", side="right")
    assert resolved["pose"]["hands"] == "right"
    assert (resolved["retarget"]["gripper"], resolved["retarget"]["tool"]) == ("hand", "down")
    assert resolved["simulator"]["scene"] and resolved["simulator"]["repeats_task"]
    plain = nodes("teleop", camera="none")
    assert (plain["pose"]["hands"], plain["retarget"]["gripper"]) == ("none", "none")
    assert not plain["simulator"]["scene"] and plain["retarget"]["tool"] == "free"
    by_hand = nodes("teleop", camera="none", gripper="hand")
    assert (by_hand["retarget"]["gripper"], by_hand["retarget"]["tool"]) == ("hand", "free")


def test_second_arm_of_a_person_takes_the_landmarks_of_the_first_graph():
    right = {"namespace": "right", "side": "right", "pose_namespace": "left", "gripper": "hand"}
    specs = {spec.name: spec for spec in resolve("teleop", {**right, "duration": "1"})}
    assert not {"camera", "pose"} & set(specs) and {"retarget", "report"} <= set(specs)
    for name in ("retarget", "report"):
        names = specs[name].remappings
        assert names["pose/landmarks"] == "/left/pose/landmarks"
        assert names["pose/right_hand"] == "/left/pose/right_hand"
    left = nodes("teleop", camera="none", namespace="left", hands="both")
    assert left["pose"]["hands"] == "both" and left["retarget"]["gripper"] == "none"
    for change, message in (
        ({"camera": "0"}, "camera:=0 are both given"),
        ({"namespace": "left"}, "is that of this graph"),
    ):
        with pytest.raises(ValueError, match=message):
            resolve("teleop", right | change)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arm": "kuka_iiwa", "scene": "blocks"}, "scene:=blocks needs a gripper, which kuka"),
        ({"arm": "kuka_iiwa", "gripper": "hand"}, "gripper:=hand needs a gripper, which kuka"),
        ({"target": "real", "scene": "blocks"}, "scene:=blocks needs target:=sim"),
    ],
)
def test_gripper_and_blocks_are_refused_where_there_are_none(values, message):
    with pytest.raises(ValueError, match=message):
        nodes("teleop", camera="none", **values)
