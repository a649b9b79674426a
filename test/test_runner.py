"""What every node has from its runner, on each executor that there may be."""

import sys

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from std_msgs.msg import String

from invdyn_ros.nodes.messages import latest_qos
from invdyn_ros.nodes.runner import HOLD_COUNT_PREFIX, DiagnosticNode, NodeLoop

TURNS = 200  # of a loop, before a test gives up
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(params=["events", "fallback"])
def loop(request, monkeypatch):
    """A node in its loop, on the executor of this rclpy or on that of older ones."""
    if request.param == "fallback":
        monkeypatch.setitem(sys.modules, "rclpy.experimental", None)  # importing it fails
    # a topic of its own: nodes of earlier tests, not quite gone yet, would pass for its readers
    rclpy.init(args=["--ros-args", "-r", f"/diagnostics:=/diagnostics_{request.param}"])
    made = NodeLoop(DiagnosticNode("tested"))
    assert isinstance(made.executor, SingleThreadedExecutor) == (request.param == "fallback")
    yield made
    made.close()
    made.node.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def other():
    """Another node, of a context of its own as if in another process."""
    context = Context()
    rclpy.init(context=context)
    made = rclpy.create_node("other", context=context, use_global_arguments=False)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


def step_until(loop, condition):
    """Take turns of a loop until a condition holds."""
    for _ in range(TURNS):
        if condition():
            return
        loop.spin(0.1)
    pytest.fail("waited in vain")


def test_a_loop_hands_each_message_over_in_order(loop):
    heard = []
    loop.node.create_subscription(String, "/words", lambda m: heard.append(m.data), 100)
    speaker = loop.node.create_publisher(String, "/words", 100)
    step_until(
        loop, lambda: loop.node.topics_connected("/words") and speaker.get_subscription_count()
    )
    for k in range(20):
        speaker.publish(String(data=str(k)))
    step_until(loop, lambda: len(heard) == 20)
    assert heard == [str(k) for k in range(20)]


@pytest.mark.parametrize("raised", [ValueError("no such word"), SystemExit(0)])
def test_a_loop_raises_what_a_callback_raised(loop, capfd, raised):
    """SystemExit is a signal that came meanwhile."""

    def refuse(_):
        raise raised

    loop.node.create_subscription(String, "/words", refuse, 10)
    speaker = loop.node.create_publisher(String, "/words", 10)
    step_until(loop, speaker.get_subscription_count)
    speaker.publish(String(data="this"))
    with pytest.raises(type(raised)) as caught:
        step_until(loop, lambda: False)
    assert caught.value is raised
    assert not capfd.readouterr().err


def test_a_loop_raises_what_a_timer_found_wrong(loop, other):
    """The types of topics are checked once a second."""
    other.create_publisher(DiagnosticArray, "/words", 10)
    loop.node.create_subscription(String, "/words", print, 10)
    with pytest.raises(ValueError, match="must carry std_msgs/msg/String"):
        step_until(loop, lambda: False)


def test_a_loop_lets_a_node_pace_itself(loop):
    waits = []
    loop.node.step = lambda spin: (spin(0), waits.append(spin))
    loop.step()
    assert waits == [loop.spin]


def test_a_reason_to_hold_is_in_the_diagnostics_before_the_next_beat(loop, other):
    heard, executor = [], SingleThreadedExecutor(context=other.context)
    publisher = next(p for p in loop.node.publishers if p.msg_type is DiagnosticArray)
    reader = other.create_subscription(DiagnosticArray, publisher.topic_name, heard.append, 100)
    executor.add_node(other)
    for timer in loop.node.timers:
        timer.cancel()  # there will be no beat

    def hear_until(condition):
        for _ in range(TURNS):
            if condition():
                return
            executor.spin_once(timeout_sec=0.1)
        pytest.fail("waited in vain")

    def counts():
        return {value.key: value.value for value in heard[-1].status[0].values}

    hear_until(lambda: publisher.get_subscription_count() and reader.get_publisher_count())
    loop.node.hold("stale")
    hear_until(lambda: heard)
    assert heard[-1].status[0].message == "stale" and counts() == {
        f"{HOLD_COUNT_PREFIX}stale": "1"
    }
    for reason in (None, "stale", "stale", None, "lost"):
        loop.node.hold(reason)
    hear_until(lambda: len(heard) > 1)
    assert heard[-1].status[0].message == "lost"
    assert counts() == {f"{HOLD_COUNT_PREFIX}stale": "2", f"{HOLD_COUNT_PREFIX}lost": "1"}
    executor.shutdown(timeout_sec=1)
    assert len(heard) == 2, "only what is new is said at once"


def test_readers_hear_reliable_publishers_and_in_real_time_all_others():
    """Real drivers publish reliably, cameras mostly not."""
    pairs = [
        (RELIABLE, latest_qos(True)),
        (RELIABLE, latest_qos(False)),
        (BEST_EFFORT, latest_qos(False)),
    ]
    assert QoSCompatibility.ERROR not in {qos_check_compatible(*pair)[0] for pair in pairs}
    assert latest_qos(False).depth == 1, "a reader that is late works off a queue"
