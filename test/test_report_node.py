"""Report node: report, plots and recording of a run."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import DESIRED, EFFORT, MODEL, STATES, TICK, UR5, state
from rosbags.interfaces import QosReliability
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image, JointState, PointCloud2
from std_msgs.msg import Float64MultiArray
from synthetic_person import FORWARD

from invdyn_ros.control.faults import Fault
from invdyn_ros.graph.topics import (
    BLOCKS_OVERLAY,
    DESIRED_JOINT_STATE,
    DIAGNOSTICS,
    JOINT_STATES,
    LANDMARKS,
)
from invdyn_ros.nodes import runner
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.message_log import CHUNK_SIZE, MessageLog
from invdyn_ros.nodes.messages import command_to_message, landmarks_to_cloud, to_stamp
from invdyn_ros.nodes.report import ReportNode
from invdyn_ros.sources.bag_files import JOINT_STATE_MESSAGE, messages


def test_failed_run_leaves_a_readable_recording(run_until_error, tmp_path):
    class FailingNode(ReportNode):
        def step(self, spin):
            super().step(spin)
            if self.last_stamp >= 0:
                raise ValueError("failed")

    published = (STATES, state(TICK, UR5.home), 10)
    parameters = {"graph": "grasp_sim", "record": tmp_path / "bag", "lockstep": True}
    line = run_until_error(FailingNode, published, **MODEL, **parameters)
    assert line == "report: failed"
    assert list(messages(tmp_path / "bag", STATES, JOINT_STATE_MESSAGE))  # those before the error


@contextmanager
def full_disk(size=800):
    """Let no file of this process grow beyond a size [bytes]; writing fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_messages_of_a_run_are_logged_in_order_even_on_a_full_disk():
    log, rng = MessageLog(), np.random.default_rng(0)
    topics = ("/a", "/b", "/c")
    for topic in topics:
        log.add_topic(topic, JointState)
    written = [(topics[k % 3], rng.bytes(int(rng.integers(9000)))) for k in range(1000)]
    for topic, raw in written[:500]:
        log.append(topic, raw)
    assert len(log._chunk) <= CHUNK_SIZE + 9000, "messages stay in memory"
    with full_disk():
        for topic, raw in written[500:]:
            log.append(topic, raw)
    assert list(log) == written and log.counts["/a"] == 334
    log.close()


def test_on_a_full_disk_each_file_fails_alone_and_leaves_nothing(start_node, tmp_path, capfd):
    parameters = {"report": tmp_path / "report.json", "record": tmp_path / "bag"}
    probe = start_node(ReportNode, **MODEL, **parameters, lockstep=True)
    node = probe.tested_node
    states = probe.advertise(STATES, JointState)
    with full_disk():
        for k in range(2000):
            states.publish(state(k * TICK, UR5.home))
            if node.failures:
                break
            probe.executor.spin_once(timeout_sec=0.001)
        probe.wait_until(lambda: node.failures)
        assert "the recording" in node.failures[0] and not (tmp_path / "bag").exists()
        assert probe.failure is None, "the run goes on"
        node.skips_plots, node.end_reason = True, "SIGINT"
        with pytest.raises(runner.NodeFailed):
            probe.wait_until(lambda: False, 60)
    assert node.failures[1].startswith("report not written: [Errno 27]")
    assert not list(tmp_path.iterdir())
    errors = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
    assert len(errors) == len(node.failures) == 2


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_recording_in_either_format_fails_on_a_full_disk_and_leaves_nothing(tmp_path, storage):
    bag = BagWriter(tmp_path / "bag", storage)
    with full_disk(500_000), pytest.raises(OSError, match=r"full|large|I/O"):
        for time in range(30):
            bag.write("/joint_states", JointState, time, bytes(100_000))
        bag.close()
    bag.remove()
    assert not list(tmp_path.iterdir())


def test_report_and_recording_of_a_run_are_written(start_node, tmp_path):
    file = tmp_path / "out" / "report.json"
    probe = start_node(
        ReportNode,
        remaps={"joint_states": "driver/joint_states"},
        **MODEL,
        graph="teleop",
        report=file,
        record=tmp_path / "bag",
        storage="mcap",
        duration=0.5,
        lockstep=True,
    )
    measured_topic = "/driver/joint_states"
    states = probe.advertise(measured_topic, JointState)
    desired = probe.advertise(DESIRED, JointState)
    clouds = probe.advertise("/pose/landmarks", PointCloud2)
    diagnostics = probe.advertise("/diagnostics", DiagnosticArray)
    fault = Fault("overspeed", "elbow_joint", 3.3, 3.15, "rad/s")
    status = DiagnosticStatus(level=b"\2", name="inverse_dynamics", message=f"{fault}; engage")
    measured = [state(k * TICK, UR5.home + 0.01 * np.sin(0.1 * k)) for k in range(65)]
    for k, joint_state in enumerate(measured):
        target = state(k * TICK, np.array(joint_state.position) + 1e-3)
        target.velocity = [0.125 * np.cos(0.1 * k)] * 6
        target.effort = [0.0] * 6
        desired.publish(target)
        if k % 6 == 0:
            clouds.publish(landmarks_to_cloud(FORWARD, joint_state.header))
    commands = probe.advertise(EFFORT, Float64MultiArray)
    commands.publish(command_to_message(np.zeros(6), TICK))
    counts = probe.tested_node.recorder.log.counts
    probe.wait_until(lambda: counts[DESIRED_JOINT_STATE] == 65 and counts[LANDMARKS] == 11)
    for joint_state in measured[:10]:
        states.publish(joint_state)
    knuckle = JointState(name=["another_shoulder_pan_joint"], position=[0.1])
    states.publish(knuckle)  # of another device, without a stamp
    probe.wait_until(lambda: counts[JOINT_STATES] == 11)
    count = counts[DIAGNOSTICS]
    diagnostics.publish(DiagnosticArray(status=[status]))
    probe.wait_until(lambda: counts[DIAGNOSTICS] > count)
    for joint_state in measured[10:]:  # these end the run by its duration
        states.publish(joint_state)
    with pytest.raises(runner.NodeFinished):
        probe.wait_until(lambda: False, 60)
    report = json.loads(file.read_text())
    assert report["ignored_messages"] == {} and probe.tested_node.num_episodes == 0
    assert report["frames"] == report["detected"] == 11
    assert report["tracking_rms_rad"]["inverse_dynamics"] == pytest.approx(1e-3, abs=1e-5)
    (found_fault,) = report["faults"]
    assert found_fault["time"] == pytest.approx(9 * TICK * 1e-9, abs=1e-3)
    assert {key: found_fault[key] for key in fault._fields} == fault._asdict()
    assert report["held_share"] == pytest.approx(55 / 64, abs=0.01)
    assert report["limit_violations"] == 0 and report["latency_ms"]["p50"] is None
    with Reader(tmp_path / "bag") as reader:
        recorded = {c.topic: c.ext.offered_qos_profiles for c in reader.connections}
    assert {measured_topic, DESIRED, EFFORT, "/pose/landmarks", "/diagnostics"} == recorded.keys()
    assert recorded[EFFORT][0].reliability is QosReliability.RELIABLE
    assert (tmp_path / "bag" / "bag.mcap").is_file()
    assert cv2.imread(str(file.with_name("summary.png"))) is not None


def test_images_of_every_episode_are_kept_and_later_ones_seldom(start_node, tmp_path):
    probe = start_node(ReportNode, **MODEL, graph="grasp_sim", report=tmp_path / "report.json")
    images, counts = probe.advertise(BLOCKS_OVERLAY, Image), probe.tested_node.recorder.log.counts

    def publish(time):
        image = Image(height=8, width=8, encoding="rgb8", step=24, data=bytes(192))
        image.header.stamp = to_stamp(round(time * 1e9))
        images.publish(image)

    while not counts[BLOCKS_OVERLAY]:  # best effort loses the first ones
        publish(0.05)
        probe.executor.spin_once(timeout_sec=0.02)
    kept = counts[BLOCKS_OVERLAY]
    for time in (0.1, 0.2, 10.0, 0.1, 0.2, 60.3, 62.4):  # time restarts with an episode
        publish(time)
        kept += 1
        probe.wait_until(lambda count=kept: counts[BLOCKS_OVERLAY] == count)
    for time in (62.5, 64.5):  # the first of them comes too early after a minute of film
        publish(time)
    probe.wait_until(lambda: counts[BLOCKS_OVERLAY] == kept + 1)
