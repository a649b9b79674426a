"""The report node: what a run did, in figures, a picture and a recording."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from node_probe import MODEL, STATES, TICK, UR5, WANTED, state
from sensor_msgs.msg import JointState, PointCloud2
from synthetic_person import FORWARD

from invdyn_ros.nodes import runner
from invdyn_ros.nodes.messages import landmarks_to_cloud
from invdyn_ros.nodes.report import ReportNode
from invdyn_ros.sources.rosbag import JOINT_STATE, messages


def test_a_run_that_ends_early_leaves_a_recording_that_can_be_read(run_until_error, tmp_path):
    said = (STATES, state(TICK, UR5.home), 10), ("/gripper/command", JointState(), 10)
    words = {"graph": "grasp_sim", "record": tmp_path / "bag", "lockstep": True}
    line = run_until_error(ReportNode, *said, **MODEL, **words)
    assert "/gripper/command carries sensor_msgs/msg/JointState" in line
    assert list(messages(tmp_path / "bag", STATES, JOINT_STATE))  # what came before the end


def test_the_report_of_a_recorded_run_is_written(start_node, tmp_path):
    file = tmp_path / "out" / "report.json"
    probe = start_node(
        ReportNode,
        **MODEL,
        graph="teleop",
        report=file,
        record=tmp_path / "bag",
        duration=0.5,
        lockstep=True,
    )
    states, wanted = probe.advertise(STATES, JointState), probe.advertise(WANTED, JointState)
    clouds = probe.advertise("/pose/landmarks", PointCloud2)
    places = [state(k * TICK, UR5.home + 0.01 * np.sin(0.1 * k)) for k in range(65)]
    for k, place in enumerate(places):
        aim = state(k * TICK, np.array(place.position) + 1e-3)
        aim.effort = [0.0] * 6
        wanted.publish(aim)
        if k % 6 == 0:
            clouds.publish(landmarks_to_cloud(FORWARD, place.header))
    kept = probe.tested_node.topics
    probe.wait_until(lambda: len(kept[WANTED][1]) == 65 and len(kept["/pose/landmarks"][1]) == 11)
    for place in places:  # they end the run, whatever else is still on its way
        states.publish(place)
    with pytest.raises(runner.NodeFinished):
        probe.wait_until(lambda: False, 60)
    report = json.loads(file.read_text())
    assert report["frames"] == report["detected"] == 11
    assert report["tracking_rms_rad"]["inverse_dynamics"] == pytest.approx(1e-3, abs=1e-5)
    assert report["limit_violations"] == 0 and report["latency_ms"]["p50"] is None
    assert (tmp_path / "bag" / "metadata.yaml").is_file()
    assert cv2.imread(str(file.with_name("summary.png"))) is not None
