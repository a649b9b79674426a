"""Compatibility of the quality of service with arms and their drivers."""

from __future__ import annotations

import pytest
from node_probe import EFFORT, MODEL, SIMULATED, STATES, TARGETS
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.simulator import SimulatorNode


@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("make", [InverseDynamicsNode, SimulatorNode])
def test_qos_is_compatible_with_reliable_drivers(start_node, make, lockstep):
    """The driver is reliable as publisher and subscriber, like ur_robot_driver."""
    parameters = MODEL if make is InverseDynamicsNode else SIMULATED
    node, reliable = (
        start_node(make, **parameters, lockstep=lockstep).tested_node,
        QoSProfile(depth=1),
    )
    topics = {STATES, TARGETS, EFFORT, "/gripper/command"}
    subscriptions = [s.qos_profile for s in node.subscriptions if s.topic_name in topics]
    publishers = [p.qos_profile for p in node.publishers if p.topic_name in topics]
    assert len(subscriptions) == 2 and len(publishers) == 1
    pairs = [(reliable, endpoint) for endpoint in subscriptions] + [
        (endpoint, reliable) for endpoint in publishers
    ]
    assert QoSCompatibility.ERROR not in {qos_check_compatible(*pair)[0] for pair in pairs}
