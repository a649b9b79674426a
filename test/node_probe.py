"""A node in a thread or run to its end, and the probe that talks to it over DDS."""

from __future__ import annotations

import signal
import sys
import threading
import time
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from invdyn_ros.nodes import runner
from invdyn_ros.nodes.messages import to_nanoseconds, to_stamp
from invdyn_ros.robots.robot import load_robot

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "config" / "checkpoints"
MODEL = {"arm": "ur5", "checkpoint": CHECKPOINTS / "ur5"}  # parameters
SIMULATED = {"arm": "ur5", "wall_clock": False}
UR5 = load_robot("ur5")
TICK = 8_000_000  # [ns] of the UR5
START = 1_700_000_000 * 10**9  # [ns]
PATIENCE = 30.0  # [s] before a test gives up; nothing waits that long when all is well
EFFORT, DESIRED = "/forward_effort_controller/commands", "/inverse_dynamics/desired_joint_state"
STATES, TARGETS, IMAGES = "/joint_states", "/joint_target", "/camera/image_raw"


class Probe:
    """What a test hears of the topics and says on them."""

    def __init__(self):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("probe", context=self.context, use_global_arguments=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.tested_node = None
        self.failure = None

    def close(self):
        """Leave nothing behind that another test could hear."""
        self.executor.shutdown(timeout_sec=1)
        self.node.destroy_node()
        if self.tested_node is not None:
            self.tested_node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def wait_until(self, condition, seconds=PATIENCE):
        """Spin until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.failure is not None:
                raise self.failure
            if time.monotonic() > deadline:
                pytest.fail(
                    f"waited {seconds} s in vain; the node holds: {self.tested_node.hold_reason}"
                )
            self.executor.spin_once(timeout_sec=0.02)

    def subscribe(self, topic, kind, qos=100):
        """Return the list that the messages of a topic come into from now on."""
        heard = []
        mine = self.node.create_subscription(kind, topic, heard.append, qos)
        theirs = [p for p in self.tested_node.publishers if p.topic_name == topic]
        self.wait_until(lambda: all(p.get_subscription_count() for p in theirs))
        self.wait_until(lambda: mine.get_publisher_count() > 0)
        return heard

    def advertise(self, topic, kind, qos=100):
        """Return a publisher that the node listens to."""
        publisher = self.node.create_publisher(kind, topic, qos)
        theirs = [s for s in self.tested_node.subscriptions if s.topic_name == topic]
        self.wait_until(lambda: publisher.get_subscription_count() > 0)
        self.wait_until(lambda: all(s.get_publisher_count() for s in theirs))
        return publisher

    def call_service(self, kind, name, request):
        """Call a service of the node."""
        client = self.node.create_client(kind, name)
        self.wait_until(client.service_is_ready)
        future = client.call_async(request)
        self.wait_until(future.done)
        return future.result()


def arguments(parameters):
    """Return the command line that gives a node its parameters."""
    given = [word for k, v in parameters.items() for word in ("-p", f"{k}:={v}")]
    return ["--ros-args", "--log-level", "warn", *given]


def node_starter():
    """Yield what starts a node in a thread and returns its probe and what that hears; clean up."""
    threads, probes = [], []

    def start(make, heard=(), **parameters):
        probe = Probe()
        probes.append(probe)
        rclpy.init(args=arguments(parameters), signal_handler_options=SignalHandlerOptions.NO)
        made = threading.Event()

        def work():
            try:
                node = make()
                loop = runner.NodeLoop(node)
                probe.tested_node = node
                made.set()
                while rclpy.ok():
                    loop.step()
            except Exception as error:
                probe.failure = error if rclpy.ok() else None
                made.set()

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        made.wait(PATIENCE)
        lists = [probe.subscribe(topic, kind) for topic, kind in heard]
        return (probe, *lists) if lists else probe

    yield start
    rclpy.try_shutdown()
    for thread in threads:
        thread.join(PATIENCE)
    for probe in probes:
        if close := getattr(probe.tested_node, "close", None):
            close()
        probe.close()


def run_until_error(monkeypatch, capfd, make, *spoken, **parameters):
    """Run a node as its process would while others publish; return its last words."""
    monkeypatch.setattr(sys, "argv", ["node", *arguments(parameters)])
    probe, over = Probe(), threading.Event()
    said = [(probe.node.create_publisher(type(m), t, qos), m) for t, m, qos in spoken]

    @wraps(make, updated=())
    def remembered():
        probe.tested_node = make()
        return probe.tested_node

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


def state(stamp, q=UR5.home, qd=None, names=UR5.joint_names):
    """Return what an arm says of itself at a time [ns]."""
    velocity = np.zeros(len(q)) if qd is None else qd
    header = Header(stamp=to_stamp(stamp))
    return JointState(
        header=header, name=list(names), position=list(q), velocity=velocity.tolist()
    )


def stamps(messages):
    """Return the stamps [ns] of messages."""
    return [to_nanoseconds(m.header.stamp) for m in messages]
