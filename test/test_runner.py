"""Main loop and diagnostics of the nodes, on both executors."""

import sys

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from std_msgs.msg import String

from invdyn_ros.nodes import namesakes
from invdyn_ros.nodes.messages import ForeignMessage, latest_qos
from invdyn_ros.nodes.node_loop import NodeLoop
from invdyn_ros.nodes.runner import HOLD_COUNT_PREFIX, DiagnosticNode
from invdyn_ros.nodes.warning_log import WarningLog

MAX_STEPS = 200  # of a loop, before a test fails
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(params=["events", "fallback"])
def loop(request, monkeypatch):
    """Return the loop of a node, on the executor of this rclpy or of an older one."""
    if request.param == "fallback":
        monkeypatch.setitem(sys.modules, "rclpy.experimental", None)  # importing it fails
    # a topic of its own: the nodes of earlier tests may still subscribe to /diagnostics
    rclpy.init(args=["--ros-args", "-r", f"/diagnostics:=/diagnostics_{request.param}"])
    node_loop = NodeLoop(DiagnosticNode("tested"))
    assert isinstance(node_loop.executor, SingleThreadedExecutor) == (request.param == "fallback")
    yield node_loop
    node_loop.close()
    node_loop.node.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def other():
    """Return another node with its own context, as in another process."""
    context = Context()
    rclpy.init(context=context)
    node_loop = rclpy.create_node("other", context=context, use_global_arguments=False)
    yield node_loop
    node_loop.destroy_node()
    rclpy.shutdown(context=context)


def step_until(loop, condition):
    """Spin a loop until a condition holds."""
    for _ in range(MAX_STEPS):
        if condition():
            return
        loop.spin(0.1)
    pytest.fail("timeout")


def test_loop_handles_messages_in_order(loop):
    received = []
    loop.node.create_subscription(String, "/words", lambda m: received.append(m.data), 100)
    publisher = loop.node.create_publisher(String, "/words", 100)
    step_until(
        loop, lambda: loop.node.topics_connected("/words") and publisher.get_subscription_count()
    )
    for k in range(20):
        publisher.publish(String(data=str(k)))
    step_until(loop, lambda: len(received) == 20)
    assert received == [str(k) for k in range(20)]


@pytest.mark.parametrize("raised", [ValueError("no such word"), SystemExit(0)])
def test_loop_raises_the_exception_of_a_callback(loop, capfd, raised):
    """SystemExit is raised by a signal handler."""

    def refuse(_):
        raise raised

    loop.node.create_subscription(String, "/words", refuse, 10)
    publisher = loop.node.create_publisher(String, "/words", 10)
    step_until(loop, publisher.get_subscription_count)
    publisher.publish(String(data="this"))
    with pytest.raises(type(raised)) as caught:
        step_until(loop, lambda: False)
    assert caught.value is raised
    assert not capfd.readouterr().err


def test_new_node_whose_name_is_taken_ends_with_one_line(loop, other, monkeypatch):
    monkeypatch.setattr(namesakes, "LEASE_DURATION", 0.5)
    namesake = rclpy.create_node("tested", context=other.context)
    with pytest.raises(ValueError, match="another node has the name /tested; end it, or start"):
        step_until(loop, lambda: False)
    namesake.destroy_node()


def test_node_that_had_its_name_alone_goes_on():
    """So does one whose namesake was killed just before, and is forgotten after a while."""
    for taken in (range(5, 99), range(1, 20)):
        monitor = namesakes.NamesakeMonitor(0.0)
        assert not any(monitor.must_end(t not in taken, float(t)) for t in range(100))


def test_loop_raises_the_exception_of_a_timer(loop):
    def refuse():
        raise ValueError("too late")

    loop.node.create_timer(0.01, refuse)
    with pytest.raises(ValueError, match="too late"):
        step_until(loop, lambda: False)


def test_topic_of_another_type_and_a_node_of_the_same_name_are_reported_once(loop, other, capfd):
    other.create_publisher(DiagnosticArray, "/words", 10)
    doubled = rclpy.create_node("tested", context=other.context, use_global_arguments=False)
    loop.node.create_subscription(String, "/words", print, 10)
    step_until(loop, lambda: loop.node.ignored_counts["/words"] == 2)
    log = capfd.readouterr().err
    assert log.count("carries diagnostic_msgs/msg/DiagnosticArray from node 'other'") == 1
    assert log.count("another node has the name /tested") == 1
    doubled.destroy_node()


def test_foreign_message_is_counted_and_each_kind_of_reason_is_logged_once(loop, capfd):
    def refuse(message):
        raise ForeignMessage(f"{message.data} is no word")

    loop.node.create_subscription(String, "/words", refuse, 10)
    publisher = loop.node.create_publisher(String, "/words", 10)
    step_until(loop, publisher.get_subscription_count)
    for word in ("[a, b]", "[c]", "12.5", "-1e-3", "'x'", "other"):
        publisher.publish(String(data=word))
    step_until(loop, lambda: loop.node.ignored_counts["/words"] == 6)
    assert capfd.readouterr().err.count("message on /words ignored") == 2
    assert loop.node.diagnostic_values["ignored: /words"] == "6, the last: other is no word"


def test_loop_calls_the_step_method_of_a_node(loop):
    waits = []
    loop.node.step = lambda spin: (spin(0), waits.append(spin))
    loop.step()
    assert waits == [loop.spin]


def test_change_of_the_hold_is_published_without_waiting_for_the_timer(loop, other):
    received, executor = [], SingleThreadedExecutor(context=other.context)
    publisher = next(p for p in loop.node.publishers if p.msg_type is DiagnosticArray)
    reader = other.create_subscription(DiagnosticArray, publisher.topic_name, received.append, 100)
    executor.add_node(other)
    for timer in loop.node.timers:
        timer.cancel()

    def receive_until(condition):
        for _ in range(MAX_STEPS):
            if condition():
                return
            executor.spin_once(timeout_sec=0.1)
        pytest.fail("timeout")

    def counts():
        return {value.key: value.value for value in received[-1].status[0].values}

    receive_until(lambda: publisher.get_subscription_count() and reader.get_publisher_count())
    loop.node.hold("stale")
    receive_until(lambda: received)
    assert received[-1].status[0].message == "stale" and counts() == {
        f"{HOLD_COUNT_PREFIX}stale": "1"
    }
    for reason in (None, "stale", "stale", None, "lost"):
        loop.node.hold(reason)
    receive_until(lambda: received[-1].status[0].message == "lost")
    assert counts() == {f"{HOLD_COUNT_PREFIX}stale": "2", f"{HOLD_COUNT_PREFIX}lost": "1"}
    executor.shutdown(timeout_sec=1)
    texts = [message.status[0].message for message in received]
    assert texts == ["stale", "ok", "stale", "ok", "lost"], "only changes are published at once"


def test_subscriptions_accept_reliable_publishers_and_in_real_time_best_effort_ones():
    """Arm drivers publish reliably, cameras often do not."""
    pairs = [
        (RELIABLE, latest_qos(True)),
        (RELIABLE, latest_qos(False)),
        (BEST_EFFORT, latest_qos(False)),
    ]
    assert QoSCompatibility.ERROR not in {qos_check_compatible(*pair)[0] for pair in pairs}
    assert latest_qos(False).depth == 1, "a late subscriber would work off a queue"


def test_repeated_warning_is_logged_with_its_count():
    lines, now = [], [0.0]
    log = WarningLog(lines.append, lambda: now[0])
    for step in range(250):
        now[0] = 0.1 * step
        log.warn(f"{step} ms late")
    assert lines == ["0 ms late", "100 ms late (101 times)", "200 ms late (201 times)"]
    for k in range(1000):
        log.warn("w" * k)
    assert len(log.counts) <= 51, "the memory of a node that runs for months is bounded"
