"""ROS parameters of all nodes: described by their dataclasses, checked, and acting."""

import importlib
import math
import sys
from dataclasses import dataclass, field, fields
from typing import Literal

import pytest
import rclpy
from documents import ROOT
from node_probe import MODEL
from pydantic import PositiveFloat
from rcl_interfaces.msg import Parameter as Message
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters

sys.path.insert(0, str(ROOT / "docs" / "hooks"))

import graph_pages

OF_RCLPY = {"use_sim_time", "start_type_description_service"}
TYPES = {bool: 1, int: 2, float: 3, str: 4}  # rcl_interfaces/msg/ParameterType


class Services:
    """The parameter services of nodes that the same thread serves."""

    def __init__(self):
        self.caller = rclpy.create_node("caller", use_global_arguments=False)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.caller)
        self.clients = {}

    def call(self, node, kind, **request):
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)[1:]
        key = f"/{node.get_name()}/{name}"
        client = self.clients.get(key) or self.caller.create_client(kind, key)
        self.clients[key] = client
        future = client.call_async(kind.Request(**request))
        self.executor.spin_until_future_complete(future, timeout_sec=20.0)
        return future.result()

    def descriptors(self, node):
        names = [n for n in self.call(node, ListParameters).result.names if n not in OF_RCLPY]
        response = self.call(node, DescribeParameters, names=names).descriptors
        return dict(zip(names, response, strict=True))

    def values(self, node, names):
        response = self.call(node, GetParameters, names=list(names)).values
        messages = [Message(name=n, value=v) for n, v in zip(names, response, strict=True)]
        return {m.name: Parameter.from_parameter_msg(m).value for m in messages}

    def set(self, node, **values):
        messages = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        return self.call(node, SetParameters, parameters=messages).results

    def set_at_once(self, node, **values):
        messages = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        return self.call(node, SetParametersAtomically, parameters=messages).result


@pytest.fixture
def start():
    """Return a function that creates a node with arguments, and the services of all nodes."""
    made = []

    def create(make, *arguments):
        rclpy.init(args=["--ros-args", "--log-level", "warn", *arguments])
        services = Services()
        made.extend([make(), services])
        services.executor.add_node(made[0])
        return made[0], services

    yield create
    for number, item in enumerate(reversed(made)):
        if number == 0:
            item.executor.shutdown(timeout_sec=1)
            item.caller.destroy_node()
        else:
            item.destroy_node()
    rclpy.try_shutdown()


def dataclasses_of(node):
    """The dataclasses whose fields are the parameters of a node."""
    module = importlib.import_module(f"invdyn_ros.nodes.{node}")
    return [getattr(module, item.name) for item in graph_pages._loaded(node)]


def nonsense(descriptor, value):
    """Values that a parameter cannot have."""
    yield "nonsense" if not isinstance(value, str) else 3
    for limits in (*descriptor.floating_point_range, *descriptor.integer_range):
        if limits.from_value > -1e9:
            yield limits.from_value - 1
    if isinstance(value, float):
        yield math.nan
    if isinstance(value, str) and "one of" in descriptor.additional_constraints:
        yield "nonsense"


@pytest.mark.parametrize("name", graph_pages.nodes())
def test_parameters_are_described_and_nonsense_is_refused_in_words(start, name):
    kinds, changes = dataclasses_of(name), []
    required = {
        "camera": ("-p", "camera:=0"),
        "motion_player": ("-p", "motion:=motion.npz", "-p", "out:=recording"),
    }
    node, services = start(lambda: DiagnosticNode(f"{name}_parameters"), *required.get(name, ()))
    for kind in kinds:
        load_parameters(node, kind, changes.append)
    described = services.descriptors(node)
    declared = {f.name: f for kind in kinds for f in fields(kind)}
    texts = {f.name: f.description for f in graph_pages.parameters(name)}
    values = services.values(node, described)
    assert described.keys() == declared.keys() == texts.keys()
    refused = 0
    for key, descriptor in described.items():
        assert (descriptor.name, descriptor.description) == (key, texts[key])
        assert descriptor.type == TYPES[type(values[key])]
        assert descriptor.read_only == ("reconfigurable" not in declared[key].metadata)
        if name not in required:
            assert values[key] == declared[key].default
        for wrong in nonsense(descriptor, values[key]):
            (result,) = services.set(node, **{key: wrong})
            assert not result.successful and result.reason, (key, wrong)
            refused += 1
    assert refused >= len(described) and not changes
    assert services.values(node, described) == values


@dataclass(frozen=True)
class Settings(Validated):
    """Settings of a node.

    Attributes:
        gain: of the controller [-].
        names: of the joints.
        side: of the person.
    """

    gain: PositiveFloat = field(default=2.0, metadata=RECONFIGURABLE)
    side: Literal["left", "right"] = field(default="left", metadata=RECONFIGURABLE)
    names: tuple[str, ...] = ()
    count: int = 3
    """Number of joints."""


def test_integer_is_a_float_and_all_changes_are_made_or_none(start):
    node, services = start(lambda: DiagnosticNode("tested"), "-p", "gain:=10", "-p", "names:=[a]")
    changes = []
    assert load_parameters(node, Settings, changes.append) == Settings(10.0, names=("a",))
    described = services.descriptors(node)
    gain, count = described["gain"], described["count"]
    assert gain.additional_constraints == "greater than 0" and gain.type == TYPES[float]
    limits = gain.floating_point_range[0]
    assert (limits.from_value, limits.step) == (0.0, 0.0)
    assert described["side"].additional_constraints == "one of 'left', 'right'"
    assert count.description == "Number of joints." and count.read_only
    assert not services.set_at_once(node, gain=4.0, side="above").successful
    assert not services.set(node, gain=0.0)[0].successful, "the end of an open range"
    assert "read-only" in services.set(node, count=4)[0].reason
    assert not changes
    assert services.set_at_once(node, gain=4, side="right").successful
    assert changes == [Settings(4.0, "right", ("a",))]
    assert services.values(node, described) == {
        "gain": 4.0, "side": "right", "names": ["a"], "count": 3,
    }  # fmt: skip


def test_speeds_and_thresholds_of_the_controller_change(start):
    words = [word for k, v in MODEL.items() for word in ("-p", f"{k}:={v}")]
    node, services = start(InverseDynamicsNode, *words)
    changed = {"speed": 0.5, "tool_speed": 0.2, "target_timeout": 0.1, "following_error": 0.02}
    assert all(result.successful for result in services.set(node, **changed))
    planner, monitor = node.controller.planner, node.controller.monitor
    assert planner.safety == node.safety and planner.safety.speed == 0.5
    assert planner.guard.config.tool_speed == planner.guard._scaling.limit == 0.2
    assert monitor.config.following_error == monitor._tracking._error_limit == 0.02
    assert services.values(node, changed) == changed
    results = services.set(node, speed=1.5, checkpoint="other", position_margin=0.0)
    assert not any(result.successful for result in results) and planner.safety.speed == 0.5
