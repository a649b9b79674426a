"""Retarget node: targets from landmarks; without a person the arm holds."""

from __future__ import annotations

import numpy as np
from node_probe import START, STATES, TARGETS, UR5, state
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Header
from synthetic_person import FORWARD, with_noise
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.nodes.messages import landmarks_to_cloud, to_stamp
from invdyn_ros.nodes.retarget import RetargetNode
from invdyn_ros.teleop.target_tracker import TargetTracker


def test_landmarks_give_a_target_with_their_stamp_and_arm_holds_without_person(start_node):
    probe, targets = start_node(RetargetNode, [(TARGETS, JointTrajectory)], lockstep=True)
    clouds, node = probe.advertise("/pose/landmarks", PointCloud2), probe.tested_node

    def publish_landmarks(k, landmarks):
        header = Header(stamp=to_stamp(START + k * 50_000_000))
        states.publish(state(START + k * 50_000_000))
        clouds.publish(landmarks_to_cloud(landmarks, header))
        probe.wait_until(lambda: targets and targets[-1].header.stamp == header.stamp)
        return np.array(targets[-1].points[0].positions)

    clouds.publish(landmarks_to_cloud(None, Header(stamp=to_stamp(START))))
    probe.wait_until(lambda: node.hold_reason == "no joint_states yet")
    states = probe.advertise(STATES, JointState)
    states.publish(state(START))
    probe.wait_until(lambda: node.measured is not None)
    np.testing.assert_allclose(publish_landmarks(1, None), UR5.home)
    assert "person" in node.hold_reason
    for k in range(2, 26):
        q = publish_landmarks(k, with_noise(FORWARD, k))
    assert np.abs(q - UR5.home).max() > 0.01 and targets[-1].joint_names == list(UR5.joint_names)
    assert targets[-1].header.frame_id == UR5.base_link
    targets_on_hold = [publish_landmarks(k, None) for k in range(26, 50)]
    assert (
        np.abs(targets_on_hold[-1] - targets_on_hold[-2]).max() < 1e-6
        and "person" in node.hold_reason
    )
    # the arm has not moved, so that following starts there again
    np.testing.assert_allclose(targets_on_hold[-1], UR5.home, atol=TargetTracker.MAX_DRIFT)
    count = len(targets)
    publish_landmarks(49, FORWARD)
    probe.wait_until(lambda: len(targets) > count)
    assert targets[-1] == targets[-2], "in lockstep a repeated question gets the same answer"
    stamp, count = to_stamp(START + 50 * 50_000_000), len(targets)
    clouds.publish(landmarks_to_cloud(None, Header(stamp=stamp)))
    probe.wait_until(lambda: node.pending is not None)
    assert len(targets) == count, "landmarks wait for the joint state of their time"
    states.publish(state(START + 50 * 50_000_000))
    probe.wait_until(lambda: targets[-1].header.stamp == stamp)
