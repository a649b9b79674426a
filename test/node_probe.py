"""Nodes under test, in a thread or run to their end, and a probe that exchanges messages."""

from __future__ import annotations

import gc
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
from invdyn_ros.nodes.node_loop import NodeLoop
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.robots.robot import load_robot

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "config" / "checkpoints"
MODEL = {"arm": "ur5", "checkpoint": CHECKPOINTS / "ur5"}  # parameters
SIMULATED = {"arm": "ur5", "wall_clock": False}
UR5 = load_robot("ur5")
UR5_NAMES = RobotNames.of(UR5)
TICK = 8_000_000  # [ns] control period of the UR5
START = 1_700_000_000 * 10**9  # [ns]
TIMEOUT = 30.0  # [s] after which a test fails
EFFORT, DESIRED = "/forward_effort_controller/commands", "/inverse_dynamics/desired_joint_state"
STATES, TARGETS, IMAGES = "/joint_states", "/joint_target", "/camera/image_raw"


class Probe:
    """Publishers, subscriptions and service clients of a test."""

    def __init__(self):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("probe", context=self.context, use_global_arguments=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.tested_node = None
        self.failure = None

    def close(self):
        """Destroy both nodes, so that no later test receives their messages."""
        self.executor.shutdown(timeout_sec=1)
        self.node.destroy_node()
        if self.tested_node is not None:
            self.tested_node.destroy_node()
            self.tested_node = None
            gc.collect()  # handles in cycles would keep the node in the graph
        rclpy.try_shutdown(context=self.context)

    def wait_until(self, condition, seconds=TIMEOUT):
        """Spin until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.failure is not None:
                raise self.failure
            if time.monotonic() > deadline:
                pytest.fail(
                    f"timeout after {seconds} s; the node holds: {self.tested_node.hold_reason}"
                )
            self.executor.spin_once(timeout_sec=0.02)

    def subscribe(self, topic, kind, qos=100):
        """Return the list to which the messages of a topic are appended."""
        received = []
        subscription = self.node.create_subscription(kind, topic, received.append, qos)
        publishers = [p for p in self.tested_node.publishers if p.topic_name == topic]
        self.wait_until(lambda: all(p.get_subscription_count() for p in publishers))
        self.wait_until(lambda: subscription.get_publisher_count() > 0)
        return received

    def advertise(self, topic, kind, qos=100):
        """Return a publisher to which the node is subscribed."""
        publisher = self.node.create_publisher(kind, topic, qos)
        subscriptions = [s for s in self.tested_node.subscriptions if s.topic_name == topic]
        self.wait_until(lambda: publisher.get_subscription_count() > 0)
        self.wait_until(lambda: all(s.get_publisher_count() for s in subscriptions))
        return publisher

    def call_service(self, kind, name, request):
        """Call a service of the node."""
        client = self.node.create_client(kind, name)
        self.wait_until(client.service_is_ready)
        future = client.call_async(request)
        self.wait_until(future.done)
        return future.result()


def arguments(parameters, remaps=None):
    """Return the command line that sets the parameters and the names of a node."""
    options = [word for k, v in parameters.items() for word in ("-p", f"{k}:={v}")]
    options += [word for k, v in (remaps or {}).items() for word in ("-r", f"{k}:={v}")]
    return ["--ros-args", "--log-level", "warn", *options]


def node_starter():
    """Yield a function that starts a node in a thread; stop all nodes afterwards.

    The function returns a probe, and a list of received messages for each subscribed topic.
    """
    threads, probes = [], []

    def start(make, subscribed=(), remaps=None, **parameters):
        probe = Probe()
        probes.append(probe)
        rclpy.init(
            args=arguments(parameters, remaps), signal_handler_options=SignalHandlerOptions.NO
        )
        ready = threading.Event()

        def work():
            loop = None
            try:
                node = make()
                loop = NodeLoop(node)
                probe.tested_node = node
                ready.set()
                while rclpy.ok():
                    loop.step()
            except Exception as error:
                probe.failure = error if rclpy.ok() else None
                ready.set()
            finally:
                if loop is not None:
                    loop.close()  # an executor that is not shut down keeps its node alive

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        ready.wait(TIMEOUT)
        if probe.failure is not None:
            raise probe.failure
        lists = [probe.subscribe(topic, kind) for topic, kind in subscribed]
        return (probe, *lists) if lists else probe

    yield start
    rclpy.try_shutdown()
    for thread in threads:
        thread.join(TIMEOUT)
    for probe in probes:
        if close := getattr(probe.tested_node, "close", None):
            close()
        probe.close()


def run_until_error(monkeypatch, capfd, make, *published, **parameters):
    """Run a node as in its own process until it fails; return its error message.

    Args:
        monkeypatch: pytest fixture.
        capfd: pytest fixture.
        make: creates the node.
        *published: topic, message and QoS of each message that is published repeatedly.
        **parameters: parameters of the node.
    """
    monkeypatch.setattr(sys, "argv", ["node", *arguments(parameters)])
    probe, stopped = Probe(), threading.Event()
    publishers = [(probe.node.create_publisher(type(m), t, qos), m) for t, m, qos in published]

    @wraps(make, updated=())
    def make_tested_node():
        probe.tested_node = make()
        return probe.tested_node

    def publish():
        while not stopped.wait(0.02):
            for publisher, message in publishers:
                publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    for name in ("freeze", "unfreeze"):  # would make the next collections slow
        monkeypatch.setattr(gc, name, lambda: None)
    capfd.readouterr()
    try:
        with pytest.raises(SystemExit) as exit_info:
            runner.run(make_tested_node)
    finally:
        stopped.set()
        thread.join()
        probe.close()
    code = exit_info.value.code
    del exit_info
    gc.collect()  # a node that failed in its constructor is still in the graph
    stderr = capfd.readouterr().err
    lines = [line for line in stderr.splitlines() if "] [" not in line]  # without the log
    assert code == 2 and len(lines) == 1, stderr
    return lines[0]


def state(stamp, q=UR5.home, qd=None, names=UR5.joint_names):
    """Return the joint state of an arm at a time [ns]."""
    velocity = np.zeros(len(q)) if qd is None else qd
    header = Header(stamp=to_stamp(stamp))
    return JointState(
        header=header, name=list(names), position=list(q), velocity=velocity.tolist()
    )


def stamps(messages):
    """Return the stamps [ns] of messages."""
    return [to_nanoseconds(m.header.stamp) for m in messages]
