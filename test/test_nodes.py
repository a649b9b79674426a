"""Each node by itself: it runs in a thread, a probe of the same process talks to it over DDS."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import wraps
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2
from std_msgs.msg import Float64MultiArray, Header, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.arms.rendering import SceneCamera
from invdyn_ros.arms.scene import SCENES, block_pose
from invdyn_ros.control.guard import State, Target
from invdyn_ros.nodes import blocks, runner
from invdyn_ros.nodes.blocks import BlocksNode
from invdyn_ros.nodes.camera import CameraNode
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import (
    camera_info_message,
    command_stamp,
    command_to_message,
    image_to_array,
    image_to_message,
    landmarks_to_cloud,
    newest,
    pose_to_arrays,
    pose_to_transform,
    target_to_message,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.nodes.pose import PoseNode
from invdyn_ros.nodes.report import ReportNode
from invdyn_ros.nodes.retarget import RetargetNode
from invdyn_ros.nodes.simulator import SimulatorNode
from invdyn_ros.robot import load_robot

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "config" / "checkpoints"
UR5 = load_robot("ur5")
TICK = 8_000_000  # [ns] of the UR5
START = 1_700_000_000 * 10**9  # [ns]
PATIENCE = 30.0  # [s] before a test gives up; nothing waits that long when all is well
EFFORT, WANTED = "/forward_effort_controller/commands", "/inverse_dynamics/wanted"
STATES, TARGETS, IMAGES = "/joint_states", "/joint_target", "/camera/image_raw"


class Probe:
    """What a test hears of the topics and says on them."""

    def __init__(self):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("probe", context=self.context, use_global_arguments=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.tested = None
        self.failure = None

    def close(self):
        """Leave nothing behind that another test could hear."""
        self.executor.shutdown(timeout_sec=1)
        self.node.destroy_node()
        if self.tested is not None:
            self.tested.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def until(self, condition, seconds=PATIENCE):
        """Spin until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.failure is not None:
                raise self.failure
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds} s in vain; the node holds: {self.tested.problem}")
            self.executor.spin_once(timeout_sec=0.02)

    def hear(self, topic, kind, qos=100):
        """Return the list that the messages of a topic come into from now on."""
        heard = []
        mine = self.node.create_subscription(kind, topic, heard.append, qos)
        theirs = [p for p in self.tested.publishers if p.topic_name == topic]
        self.until(lambda: all(p.get_subscription_count() for p in theirs))
        self.until(lambda: mine.get_publisher_count() > 0)
        return heard

    def speaker(self, topic, kind, qos=100):
        """Return a publisher that the node listens to."""
        publisher = self.node.create_publisher(kind, topic, qos)
        theirs = [s for s in self.tested.subscriptions if s.topic_name == topic]
        self.until(lambda: publisher.get_subscription_count() > 0)
        self.until(lambda: all(s.get_publisher_count() for s in theirs))
        return publisher

    def call(self, kind, name, request):
        """Call a service of the node."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()


def arguments(parameters):
    given = [word for k, v in parameters.items() for word in ("-p", f"{k}:={v}")]
    return ["--ros-args", "--log-level", "warn", *given]


@pytest.fixture
def begin():
    """Start a node in a thread; return the probe that talks to it and what it hears."""
    threads, probes = [], []

    def start(make, heard=(), **parameters):
        probe = Probe()
        probes.append(probe)
        rclpy.init(args=arguments(parameters), signal_handler_options=SignalHandlerOptions.NO)
        made = threading.Event()

        def work():
            try:
                node = make()
                loop = runner.Loop(node)
                probe.tested = node
                made.set()
                while rclpy.ok():
                    loop.turn()
            except Exception as error:
                probe.failure = error if rclpy.ok() else None
                made.set()

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        made.wait(PATIENCE)
        lists = [probe.hear(topic, kind) for topic, kind in heard]
        return (probe, *lists) if lists else probe

    yield start
    rclpy.try_shutdown()
    for thread in threads:
        thread.join(PATIENCE)
    for probe in probes:
        if close := getattr(probe.tested, "close", None):
            close()
        probe.close()


@pytest.fixture
def line_of_death(monkeypatch, capfd):
    """Run a node as its process would while others publish; return its last words."""

    def die(make, *spoken, **parameters):
        monkeypatch.setattr(sys, "argv", ["node", *arguments(parameters)])
        probe, over = Probe(), threading.Event()
        said = [(probe.node.create_publisher(type(m), t, qos), m) for t, m, qos in spoken]

        @wraps(make, updated=())
        def remembered():
            probe.tested = make()
            return probe.tested

        def talk():
            while not over.wait(0.02):
                for publisher, message in said:
                    publisher.publish(message)

        talker = threading.Thread(target=talk)
        talker.start()
        before = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                runner.run(remembered)
        finally:
            over.set()
            talker.join()
            probe.close()
            signal.signal(signal.SIGTERM, before)
        shown = capfd.readouterr().err
        lines = [line for line in shown.splitlines() if "] [" not in line]  # without the log
        assert ended.value.code == 2 and len(lines) == 1, shown
        return lines[0]

    return die


def state(stamp, q=UR5.home, qd=None, names=UR5.joint_names):
    velocity = np.zeros(len(q)) if qd is None else qd
    header = Header(stamp=to_stamp(stamp))
    return JointState(
        header=header, name=list(names), position=list(q), velocity=velocity.tolist()
    )


def target(stamp, q):
    wanted = State(q, np.zeros_like(q), np.zeros_like(q))
    return target_to_message(Target(stamp * 1e-9, wanted, 0.0), UR5.joint_names, to_stamp(stamp))


def engage(probe, on=True):
    return probe.call(SetBool, "/inverse_dynamics/engage", SetBool.Request(data=on))


# inverse_dynamics

MODEL = {"arm": "ur5", "checkpoint": CHECKPOINTS / "ur5"}


def test_nothing_moves_before_engaging_and_after_stopping(begin):
    probe, commands = begin(InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **MODEL)
    states, node = probe.speaker(STATES, JointState), probe.tested

    def show(stamp):
        states.publish(state(stamp))
        probe.until(lambda: node.measured is not None and node.measured[0] == stamp)
        probe.until(lambda: len(commands) >= (node.problem not in ("not engaged", "stopped")))

    show(START)
    assert node.problem == "not engaged" and not commands
    assert engage(probe).success
    states.publish(state(START + TICK))
    probe.until(lambda: commands)
    torque = np.array(commands[-1].data)
    gravity = UR5.inverse_dynamics(UR5.home, np.zeros(6), np.zeros(6))
    assert np.abs(torque - gravity).max() < 0.1 * np.abs(gravity).max()
    assert command_stamp(commands[-1]) == START + TICK
    assert probe.call(Trigger, "/inverse_dynamics/stop", Trigger.Request()).success
    count = len(commands)
    for k in range(2, 8):
        show(START + k * TICK)
        assert node.problem == "stopped"
    assert len(commands) == count, "a stop is latched"
    engage(probe)
    states.publish(state(START + 8 * TICK))
    probe.until(lambda: len(commands) > count)


def test_a_target_is_approached_within_limits_and_a_stale_one_held(begin):
    probe, wanted, said = begin(
        InverseDynamicsNode, [(WANTED, JointState), ("/diagnostics", DiagnosticArray)], **MODEL
    )
    states, targets = probe.speaker(STATES, JointState), probe.speaker(TARGETS, JointTrajectory)
    engage(probe)
    goal = UR5.home + np.array([0.3, 0, 0, 0, -0.2, 0])
    now = state(START)

    def follow(k):  # an arm that is always where it is wanted
        now.header.stamp = to_stamp(START + k * TICK)
        states.publish(now)
        probe.until(lambda: wanted and to_nanoseconds(wanted[-1].header.stamp) == START + k * TICK)
        now.position, now.velocity = wanted[-1].position, wanted[-1].velocity
        return np.array(wanted[-1].position), np.array(wanted[-1].velocity)

    path, k = [follow(0)], 0
    while np.abs(path[-1][0] - goal).max() > 1e-3:
        k += 1
        assert k < 250, "two seconds were not enough"
        targets.publish(target(START + k * TICK, goal))
        probe.until(lambda k=k: probe.tested.target_stamp == START + k * TICK)
        path.append(follow(k))
    q, qd = np.array(path).transpose(1, 0, 2)
    assert (np.abs(qd) <= UR5.velocity).all() and np.abs(qd).max() > 0.1
    assert (np.diff(q[:, 0]) >= -1e-9).all() and q[:, 0].max() <= goal[0] + 1e-6
    for later in range(k + 1, k + 60):
        place, _ = follow(later)
    assert np.abs(place - goal).max() < 2e-3
    assert probe.tested.problem == "target is stale"
    probe.until(lambda: any("target is stale" in s.message for m in said for s in m.status))


def test_in_lockstep_a_repeated_state_gets_the_same_answer_and_a_new_one_waits(begin):
    probe, commands = begin(
        InverseDynamicsNode,
        [(EFFORT, Float64MultiArray)],
        **MODEL,
        engaged=True,
        lockstep=True,
    )
    states, targets = probe.speaker(STATES, JointState), probe.speaker(TARGETS, JointTrajectory)
    goal = UR5.home + 0.1
    targets.publish(target(START, goal))
    states.publish(state(START))
    probe.until(lambda: commands)
    states.publish(state(START))
    probe.until(lambda: len(commands) > 1)
    assert commands[0] == commands[1] and command_stamp(commands[0]) == START
    states.publish(state(START + TICK))
    probe.until(lambda: probe.tested.measured[0] == START + TICK)
    assert all(command_stamp(c) == START for c in commands), "answered without a target"
    targets.publish(target(START + TICK, goal))
    probe.until(lambda: command_stamp(commands[-1]) == START + TICK)


def test_measured_joints_that_are_not_finite_get_no_command(begin):
    probe, commands = begin(
        InverseDynamicsNode, [(EFFORT, Float64MultiArray)], **MODEL, engaged=True
    )
    states = probe.speaker(STATES, JointState)
    states.publish(state(START, UR5.home * np.nan))
    probe.until(lambda: probe.tested.problem is not None)
    assert probe.tested.problem == "measured joints are not finite" and not commands


def test_joint_states_without_a_joint_of_the_arm_end_the_node(line_of_death):
    lacking = state(START, UR5.home[:5], names=UR5.joint_names[:5])
    line = line_of_death(InverseDynamicsNode, (STATES, lacking, 10), **MODEL)
    assert line.startswith("inverse_dynamics: joint_states lacks ['wrist_3_joint']")


def test_a_topic_of_another_type_ends_the_node(line_of_death):
    line = line_of_death(InverseDynamicsNode, (STATES, String(data="hello"), 10), **MODEL)
    assert "/joint_states carries std_msgs/msg/String from node 'probe'" in line
    assert "must carry sensor_msgs/msg/JointState" in line


def test_a_checkpoint_of_another_arm_ends_the_process_with_one_line_and_code_2():
    given = {"arm": "ur5", "checkpoint": CHECKPOINTS / "kuka_iiwa"}
    command = [sys.executable, "-m", "invdyn_ros.nodes.inverse_dynamics", *arguments(given)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("inverse_dynamics: ")
    assert "is a model of 'kuka_iiwa'" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("folder", "message"),
    [("damaged", "is damaged"), ("none", "no checkpoint folder"), (".", "meta.json is missing")],
)
def test_a_checkpoint_that_is_none_ends_the_node(line_of_death, tmp_path, folder, message):
    if folder == "damaged":
        shutil.copytree(CHECKPOINTS / "ur5", tmp_path / folder)
        os.truncate(tmp_path / folder / "model.safetensors", 100)
    line = line_of_death(InverseDynamicsNode, arm="ur5", checkpoint=tmp_path / folder)
    assert str(tmp_path) in line and message in line


def test_a_parameter_of_the_wrong_type_ends_the_node(line_of_death):
    line = line_of_death(InverseDynamicsNode, **MODEL, lockstep=3)
    assert "lockstep: expected true or false, got 3" in line


@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("make", [InverseDynamicsNode, SimulatorNode])
def test_arms_and_their_drivers_may_be_reliable(begin, make, lockstep):
    """As ur_robot_driver is, on both sides."""
    given = MODEL if make is InverseDynamicsNode else SIMULATED
    node, theirs = begin(make, **given, lockstep=lockstep).tested, QoSProfile(depth=1)
    topics = {STATES, TARGETS, EFFORT, "/gripper/command"}
    heard = [s.qos_profile for s in node.subscriptions if s.topic_name in topics]
    said = [p.qos_profile for p in node.publishers if p.topic_name in topics]
    assert len(heard) == 2 and len(said) == 1
    both = [(theirs, mine) for mine in heard] + [(mine, theirs) for mine in said]
    assert QoSCompatibility.ERROR not in {qos_check_compatible(*pair)[0] for pair in both}


# simulator

SIMULATED = {"arm": "ur5", "wall_clock": False}


def stamps(messages):
    return [to_nanoseconds(m.header.stamp) for m in messages]


def test_the_simulator_publishes_at_the_rate_of_the_arm_and_brakes_without_commands(begin):
    probe, heard, clock = begin(
        SimulatorNode, [(STATES, JointState), ("/clock", Clock)], **SIMULATED
    )
    probe.until(lambda: heard)
    began, first = time.monotonic(), stamps(heard[-1:])[0]
    probe.until(lambda: stamps(heard[-1:])[0] >= first + 60 * TICK)
    assert time.monotonic() - began > 0.7 * 60 * TICK * 1e-9, "faster than real time"
    assert TICK in np.diff(stamps(heard)) and not (np.diff(stamps(heard)) % TICK).any()
    assert heard[0].name == [*UR5.joint_names, *UR5.gripper.joints]
    assert {len(m.position) for m in heard} == {len(m.velocity) for m in heard} == {8}
    assert np.ptp([m.position for m in heard], axis=0).max() < 1e-3, "the brakes slip"
    assert probe.tested.problem == "no command: brakes on"
    assert {to_nanoseconds(m.clock) for m in clock} & set(stamps(heard))


@pytest.mark.parametrize("values", [[float("nan")] * 6, [0.0] * 5])
def test_the_simulator_refuses_a_command_that_is_none(begin, values, capfd):
    probe, said = begin(SimulatorNode, **SIMULATED), []
    speaker = probe.speaker(EFFORT, Float64MultiArray)

    def refused():
        speaker.publish(Float64MultiArray(data=values))  # again: the reader may match late
        said.append(capfd.readouterr().err)
        return "refused command" in "".join(said)

    probe.until(refused)
    assert probe.tested.command is None


def test_the_simulator_starts_again_on_reset_and_stands_still_on_pause(begin):
    probe, heard = begin(SimulatorNode, [(STATES, JointState)], **SIMULATED)
    probe.until(lambda: len(heard) > 10)
    assert probe.call(Trigger, "/sim/reset", Trigger.Request()).success
    probe.until(lambda: (np.diff(stamps(heard)) < 0).any())
    assert probe.call(SetBool, "/sim/pause", SetBool.Request(data=True)).message == "paused"
    paused, ticks = time.monotonic(), probe.tested.simulation.ticks
    probe.until(lambda: time.monotonic() > paused + 0.3)
    assert probe.tested.simulation.ticks <= ticks + 1  # that which was about to end
    probe.call(SetBool, "/sim/pause", SetBool.Request(data=False))
    probe.until(lambda: heard and stamps(heard[-1:])[0] > (ticks + 3) * TICK)
    assert np.diff(stamps(heard)).max() < 0.2e9, "time jumped over the pause"


def test_in_lockstep_each_answer_is_one_tick_and_only_the_right_answer_counts(begin):
    probe, heard = begin(SimulatorNode, [(STATES, JointState)], **SIMULATED, lockstep=True)
    commands = probe.speaker(EFFORT, Float64MultiArray)
    gravity = UR5.inverse_dynamics(UR5.home, np.zeros(6), np.zeros(6))
    probe.until(lambda: len(heard) >= 3)
    assert set(stamps(heard)) == {0} and heard[0] == heard[-1], "moved without an answer"
    commands.publish(command_to_message(gravity, 123))
    probe.until(lambda: probe.tested.command is not None)
    count = len(heard)
    probe.until(lambda: len(heard) > count)
    assert set(stamps(heard)) == {0}, "took an answer that belongs to another state"
    for k in range(20):
        probe.until(lambda k=k: stamps(heard[-1:]) == [k * TICK])
        assert probe.tested.simulation.ticks == k
        commands.publish(command_to_message(gravity, k * TICK))
    assert set(np.diff(stamps(heard))) <= {0, TICK}


# blocks


@pytest.fixture(scope="module")
def picture():
    """A block on the table as the camera sees it, its pose (4, 4) in the base frame."""
    scene, pose = SCENES["ur5"], block_pose(0.45, 0.03, 0.02, 0.4)
    camera = SceneCamera(UR5, scene)
    image = camera.render(UR5.home, 0.0, pose[None])
    camera.close()
    return image, pose


def info_message(calibrated=True):
    k = SCENES["ur5"].camera.intrinsics() * calibrated
    return camera_info_message(k, 640, 480, to_stamp(START), "camera")


def test_an_image_before_the_camera_info_is_kept_and_gives_pose_and_markers(begin, picture):
    image, truth = picture
    probe, poses, markers = begin(
        BlocksNode,
        [("/blocks/block_0", PoseWithCovarianceStamped), ("/blocks/markers", MarkerArray)],
        lockstep=True,
    )
    images = probe.speaker(IMAGES, Image)
    images.publish(image_to_message(image, to_stamp(START), "camera"))
    probe.until(lambda: probe.tested.early is not None)
    assert "no camera_info" in probe.tested.problem and not poses
    probe.speaker("/camera/camera_info", CameraInfo).publish(info_message())
    probe.until(lambda: poses and markers)
    assert stamps(poses) == [START]
    position, _ = pose_to_arrays(poses[0].pose.pose)
    T = SCENES["ur5"].camera.T_base_camera
    assert np.linalg.norm(T[:3, :3] @ position + T[:3, 3] - truth[:3, 3]) < 5e-3
    assert [m.action for m in markers[0].markers] == [Marker.DELETEALL, Marker.ADD]
    assert probe.tested.problem is None
    blank = np.full_like(image, 127)
    images.publish(image_to_message(blank, to_stamp(START + TICK), "camera"))
    probe.until(lambda: len(markers) > 1)
    assert [m.action for m in markers[1].markers] == [Marker.DELETEALL] and len(poses) == 1
    assert stamps(markers[1].markers) == [START + TICK]


def test_a_block_is_a_frame_of_tf_where_tf2_exists_and_none_while_unseen(
    begin, picture, monkeypatch
):
    sent = []

    class Broadcaster:
        """In place of tf2_ros, which PyPI has not: keeps what it is given."""

        def __init__(self, node):
            self.sendTransform = sent.append

    monkeypatch.setattr(blocks, "TransformBroadcaster", Broadcaster)
    probe, poses, markers = begin(
        BlocksNode,
        [("/blocks/block_0", PoseWithCovarianceStamped), ("/blocks/markers", MarkerArray)],
        lockstep=True,
    )
    infos, images = probe.speaker("/camera/camera_info", CameraInfo), probe.speaker(IMAGES, Image)
    infos.publish(info_message())
    probe.until(lambda: probe.tested.detector is not None)
    for k, image in enumerate((picture[0], np.full_like(picture[0], 127))):
        images.publish(image_to_message(image, to_stamp(START + k * TICK), "camera"))
        probe.until(lambda k=k: len(markers) == k + 1)
    probe.until(lambda: poses)
    assert sent == [pose_to_transform(poses[0].pose.pose, "block_0", poses[0].header)]
    assert stamps(sent) == [START] and sent[0].header.frame_id == "camera"


def test_an_image_of_another_encoding_ends_the_node(line_of_death):
    message = image_to_message(np.zeros((48, 64, 3), np.uint8), Time(), "camera")
    message.encoding = "mono16"
    line = line_of_death(BlocksNode, (IMAGES, message, 10))
    assert line == "blocks: image encoding 'mono16' is not supported; send one of ['rgb8', 'bgr8']"


def test_a_camera_that_is_not_calibrated_ends_the_node(line_of_death):
    info = info_message(calibrated=False)
    line = line_of_death(BlocksNode, ("/camera/camera_info", info, 10))
    assert line.startswith("blocks: camera_info is not calibrated")


# pose and retarget


def test_an_image_of_nobody_gives_an_empty_cloud_and_an_overlay_only_if_asked(begin):
    probe, clouds = begin(PoseNode, [("/pose/landmarks", PointCloud2)], lockstep=True)
    images = probe.speaker(IMAGES, Image)
    blank = np.full((240, 320, 3), 90, np.uint8)

    def show(k):
        images.publish(image_to_message(blank, to_stamp(START + k * TICK), "camera"))
        probe.until(lambda: len(clouds) == k + 1)
        assert (clouds[k].width, stamps(clouds)[k]) == (0, START + k * TICK)

    show(0)
    show(1)  # now the node is done with the first
    overlays = probe.hear("/pose/overlay", Image, newest(False))
    show(2)
    probe.until(lambda: START + 2 * TICK in stamps(overlays))
    assert START not in stamps(overlays)
    np.testing.assert_array_equal(image_to_array(overlays[0]), blank)
    assert probe.tested.problem == "nobody in the image"
    assert probe.tested.values == {"images without a person": "3"}
    assert not probe.tested.holds, "the retargeter holds; a report would count it twice"


def person():
    """Landmarks (33, 4) of someone who stands with the forearms forward."""
    points = np.zeros((33, 4))
    points[[23, 24], 1] = 0.1, -0.1
    points[[11, 12], 1:3] = [[0.18, 0.45], [-0.18, 0.45]]
    points[[13, 14], :3] = points[[11, 12], :3] + [0.0, 0.0, -0.29]
    points[[15, 16], :3] = points[[13, 14], :3] + [0.26, 0.0, 0.0]
    points[:, 3] = 1.0
    return points


def test_landmarks_become_a_target_with_their_stamp_and_nobody_holds_the_arm(begin):
    probe, targets = begin(RetargetNode, [(TARGETS, JointTrajectory)], lockstep=True)
    clouds, node = probe.speaker("/pose/landmarks", PointCloud2), probe.tested

    def show(k, landmarks):
        header = Header(stamp=to_stamp(START + k * 50_000_000))
        clouds.publish(landmarks_to_cloud(landmarks, header))
        probe.until(lambda: targets and targets[-1].header == Header(stamp=header.stamp))
        return np.array(targets[-1].points[0].positions)

    clouds.publish(landmarks_to_cloud(None, Header(stamp=to_stamp(START))))
    probe.until(lambda: node.problem == "no joint_states yet")
    probe.speaker(STATES, JointState).publish(state(START))
    probe.until(lambda: node.started)
    np.testing.assert_allclose(show(1, None), UR5.home)
    assert "person" in node.problem
    for k in range(2, 12):
        place = show(k, person())
    assert np.abs(place - UR5.home).max() > 0.01 and targets[-1].joint_names == list(
        UR5.joint_names
    )
    held = [show(k, None) for k in range(12, 40)]
    assert np.abs(held[-1] - held[-2]).max() < 1e-6 and "person" in node.problem
    count = len(targets)
    show(39, person())
    probe.until(lambda: len(targets) > count)
    assert targets[-1] == targets[-2], "in lockstep a repeated question gets the same answer"


# camera

FRAMES, RATE = 12, 30.0


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A short video whose frames get brighter."""
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (160, 120))
    for k in range(FRAMES):
        writer.write(np.full((120, 160, 3), 20 + 16 * k, np.uint8))
    writer.release()
    return file


def brightness(images):
    return [float(image_to_array(m).mean()) for m in images]


def test_a_video_is_published_whole_in_order_and_at_its_pace(begin, film):
    probe, decoded = begin(CameraNode, video=film, await_topics="/go"), []
    node = probe.tested
    node.frames = (decoded.append(time.time()) or frame for frame in node.frames)
    began, images = time.time_ns(), probe.hear(IMAGES, Image, newest(False))
    probe.node.create_publisher(String, "/go", 1)
    probe.node.create_subscription(String, "/go", print, 1)
    probe.until(lambda: len(images) == FRAMES)
    assert np.abs(np.diff(brightness(images)) - 16).max() < 3
    gaps = 1e-9 * np.diff(stamps(images))
    assert gaps.min() > 0 and (FRAMES - 1) / RATE - 0.05 < gaps.sum() < 1.0
    assert began < stamps(images)[0] and stamps(images)[-1] < time.time_ns()
    with pytest.raises(runner.Done):
        probe.until(lambda: False)
    rested = node.began + np.arange(FRAMES - 1) / RATE + node.rest
    assert node.rest > 0.5 / RATE and len(decoded) == FRAMES - 1
    assert (decoded > rested - 1e-3).all(), "decoding took a core from who works on the last frame"


def test_in_lockstep_a_video_follows_the_simulated_clock(begin, film):
    probe = begin(CameraNode, video=film, lockstep=True)
    images = probe.hear(IMAGES, Image)
    clock = probe.speaker("/clock", Clock)

    def at(seconds, count):
        clock.publish(Clock(clock=to_stamp(round(seconds * 1e9))))
        probe.until(lambda: len(images) >= count)

    at(0.0, 1)
    at(0.01, 1)
    at(0.101, 4)
    assert [round(1e-9 * s * RATE, 3) for s in stamps(images)] == [0, 1, 2, 3]
    at(0.101, 5)
    assert images[4] == images[3], "asked again, it answers again"
    at(9.0, FRAMES + 1)
    assert len(images) == FRAMES + 1 and np.diff(brightness(images)).min() > -1


def test_a_missing_video_ends_the_node(line_of_death, tmp_path):
    line = line_of_death(CameraNode, video=tmp_path / "none.mp4")
    assert line == f"camera: no video file {tmp_path / 'none.mp4'}"


# report


def test_the_report_of_a_recorded_run_is_written(begin, tmp_path):
    file = tmp_path / "out" / "report.json"
    probe = begin(
        ReportNode,
        **MODEL,
        graph="teleop",
        report=file,
        record=tmp_path / "bag",
        duration=0.5,
        lockstep=True,
    )
    states, wanted = probe.speaker(STATES, JointState), probe.speaker(WANTED, JointState)
    clouds = probe.speaker("/pose/landmarks", PointCloud2)
    places = [state(k * TICK, UR5.home + 0.01 * np.sin(0.1 * k)) for k in range(65)]
    for k, place in enumerate(places):
        aim = state(k * TICK, np.array(place.position) + 1e-3)
        aim.effort = [0.0] * 6
        wanted.publish(aim)
        if k % 6 == 0:
            clouds.publish(landmarks_to_cloud(person(), place.header))
    kept = probe.tested.topics
    probe.until(lambda: len(kept[WANTED][1]) == 65 and len(kept["/pose/landmarks"][1]) == 11)
    for place in places:  # they end the run, whatever else is still on its way
        states.publish(place)
    with pytest.raises(runner.Done):
        probe.until(lambda: False, 60)
    report = json.loads(file.read_text())
    assert report["frames"] == report["detected"] == 11
    assert report["tracking_rms_rad"]["idm"] == pytest.approx(1e-3, abs=1e-5)
    assert report["limit_violations"] == 0 and report["latency_ms"]["p50"] is None
    assert (tmp_path / "bag" / "metadata.yaml").is_file()
    assert cv2.imread(str(file.with_name("summary.png"))) is not None
