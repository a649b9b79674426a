"""The managed node: its state is the clutch of the arm, however the arm is engaged or stopped."""

from __future__ import annotations

from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState
from node_probe import MODEL, STATES
from std_srvs.srv import SetBool, Trigger
from test_node_watchdog import PATIENT, RunningArm, engaged

from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode

CHANGES = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "shutdown": Transition.TRANSITION_INACTIVE_SHUTDOWN,
}


class Manager:
    """A lifecycle manager of the node."""

    def __init__(self, probe, wait=None):
        self.probe, self.wait = probe, wait or probe.wait_until
        self.events = []
        topic = "/inverse_dynamics/transition_event"
        probe.node.create_subscription(TransitionEvent, topic, self.events.append, 10)

    def call(self, kind, name, **request):
        client = self.probe.node.create_client(kind, f"/inverse_dynamics/{name}")
        self.wait(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        self.wait(future.done)
        return future.result()

    def change(self, name):
        transition = Transition(id=CHANGES[name])
        return self.call(ChangeState, "change_state", transition=transition).success

    @property
    def state(self):
        return self.call(GetState, "get_state").current_state.label


def test_activation_is_the_clutch(start_node, capfd):
    arm = RunningArm(start_node, **PATIENT)
    manager = Manager(arm.probe, arm.run_until)
    assert manager.state == "inactive", "configured by itself"
    assert not manager.change("configure"), "no such transition, and the node goes on"
    arm.run_until(lambda: manager.change("activate"))
    assert "not activated: no fresh joint states" in capfd.readouterr().err or arm.moves()
    assert manager.state == "active" and arm.node.controller.engaged
    assert not manager.change("cleanup"), "of an active node"
    assert manager.change("deactivate") and manager.state == "inactive"
    arm.run_until(lambda: not arm.node.is_moving)
    assert arm.engage().success and manager.state == "active"
    assert manager.call(Trigger, "stop").success and manager.state == "inactive"
    engaged(arm)
    arm.probe.wait_until(lambda: arm.node.fault is not None)  # no joint states come
    manager.wait = arm.probe.wait_until
    assert manager.state == "inactive" and arm.node.fault is not None
    goals = [event.goal_state.label for event in manager.events]
    assert goals.count("active") == 3 and goals[-1] == "inactive"


def test_node_without_autostart_waits_and_can_be_configured_twice(start_node):
    probe = start_node(InverseDynamicsNode, **MODEL, autostart=False, engaged=True)
    manager = Manager(probe)
    assert manager.state == "unconfigured"
    response = manager.call(SetBool, "engage", data=True)
    assert (response.success, response.message) == (False, "refused: not configured")
    for _ in range(2):
        assert manager.change("configure") and manager.state == "inactive"
        assert probe.node.count_subscribers(STATES) or probe.wait_until(
            lambda: probe.node.count_subscribers(STATES)
        )
        assert manager.change("cleanup") and manager.state == "unconfigured"
        probe.wait_until(lambda: not probe.node.count_subscribers(STATES))
    assert manager.change("configure") and manager.change("shutdown")
    assert manager.state == "finalized"


def test_calls_that_were_queued_before_a_cleanup_are_skipped(start_node):
    probe = start_node(InverseDynamicsNode, **MODEL, autostart=False)
    node, manager = probe.tested_node, Manager(probe)
    before = {*node.timers, *node.subscriptions}
    assert manager.change("configure")
    created = {*node.timers, *node.subscriptions} - before
    assert created
    callbacks = [entity.callback for entity in created]
    assert manager.change("cleanup")
    for callback in callbacks:
        callback(None)
    assert node.exception is None
