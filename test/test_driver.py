"""A real driver in all its moods, on a stand-in over DDS: named, no jump, latched or resumed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import rclpy
from driver_rig import Rig
from driver_stand_in import CONTROLLER, NORMAL, OTHER, PROTECTIVE_STOP, SCALING
from node_probe import ROOT, node_starter
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String

FIRST_STEP = 0.02  # [rad] at most


@pytest.fixture(scope="module")
def rigs(tmp_path_factory):
    """Function that returns the rig of an arm, which is started once."""
    starters, started = [], {}

    def rig(arm):
        if arm not in started:
            while starters:  # one at a time: they share their topics
                next(starters.pop(), None)
            started.clear()
            starters.append(node_starter())
            start = next(starters[0])
            started[arm] = Rig(start, arm, tmp_path_factory.mktemp("driver"))
        started[arm].restore()
        return started[arm]

    yield rig
    for starter in starters:
        next(starter, None)


def joints_in_another_order_among_those_of_other_devices(rig):
    """As one message without velocities and efforts, and as another on the same topic."""

    def with_others(message):
        message.name = ["rail", *message.name, "lift"]
        message.position = [0.1, *message.position, float("nan")]
        message.velocity = message.effort = [float("nan")] * len(message.name)
        return message

    rig.driver.order, rig.driver.change = [3, 1, 5, 0, 2, 4], with_others
    knuckle = JointState(name=["robotiq_85_left_knuckle_joint"], position=[0.1])
    rig.driver.other_messages.append(knuckle)
    rig.drive()


def joint_missing(rig):
    rig.driver.names[2] = "another"
    assert "joint_states lacks ['elbow_joint']" in rig.refusal("no joint states of the arm")
    rig.driver.names = list(rig.robot.joint_names)
    rig.engage()


def joint_missing_in_motion(rig):
    rig.drive()
    rig.driver.names[2] = "another"
    rig.latched("joint states stopped")
    assert "joint_states lacks ['elbow_joint']" in rig.refusal("no joint states of the arm")
    rig.driver.names = list(rig.robot.joint_names)
    rig.drive()


def names_with_a_prefix(rig):
    rig.driver.names = [f"left_{name}" for name in rig.robot.joint_names]
    assert "left_elbow_joint" in rig.refusal("it is of other joints")


def pause_and_resume(rig):
    """The arm goes on by itself, from where it stands."""
    rig.drive()
    rig.driver.scaling = 0.0
    rig.run_until(lambda: "driver is paused" in str(rig.node.hold_reason))
    rig.run(0.3)
    assert np.abs(rig.driver.setpoint - rig.driver.q).max() < FIRST_STEP
    rig.driver.scaling, stand = 1.0, rig.driver.q
    rig.run_until(lambda: np.abs(rig.driver.q - stand).max() > 0.03)
    assert rig.node.fault is None


def pause_in_which_the_arm_is_moved(rig):
    rig.drive()
    rig.driver.scaling = 0.0
    rig.run_until(lambda: "driver is paused" in str(rig.node.hold_reason))
    for _ in range(10):
        rig.driver.q = rig.driver.q + 0.01 * np.eye(rig.robot.n)[4]
        rig.run(0.03)
    rig.driver.scaling, stand = 1.0, rig.driver.q
    rig.run_until(lambda: np.abs(rig.driver.q - stand).max() > 0.03)


def engaging_while_paused(rig):
    rig.driver.scaling = 0.0
    assert "speed slider" in rig.refusal("driver is paused: its speed scaling is below 5%")
    rig.driver.scaling = 1.0
    rig.engage()


def program_stopped_and_started_again(rig):
    rig.drive()
    rig.driver.set_program(False)
    rig.latched("driver is not ready: program is stopped; press Play")
    rig.refusal("program is stopped")
    rig.driver.switch(True)  # the driver deactivates its controllers meanwhile
    rig.driver.set_program(True)
    rig.run(0.2)
    assert rig.node.fault is not None
    rig.drive()


def safety_stop(rig):
    """A protective stop pauses the program, too, but the arm does not resume by itself."""
    rig.drive()
    rig.driver.set_safety(PROTECTIVE_STOP)
    rig.driver.scaling = 0.0
    rig.latched("driver is not ready: safety mode is protective stop")
    rig.refusal("safety mode is protective stop")
    rig.driver.q = rig.driver.q + 0.1  # released by hand
    rig.run(0.1)
    rig.driver.set_safety(NORMAL)
    rig.driver.scaling = 1.0
    rig.run(0.2)
    assert rig.node.fault is not None
    rig.drive()


def scaling_of_a_tenth(rig):
    """The arm follows slowly, and catches up when the slider is raised again."""
    rig.drive()
    rig.driver.scaling = 0.1
    speeds = []
    rig.run(0.3)
    end = rig.driver.now + 1.2
    rig.run_until(lambda: speeds.append(np.abs(rig.driver.qd).max()) or rig.driver.now > end)
    assert rig.node.fault is None
    assert 0.01 < np.percentile(speeds, 90) < 0.1 * rig.robot.velocity.max()
    assert np.abs(rig.driver.setpoint - rig.driver.q).max() < 0.1
    rig.driver.scaling = 1.0
    rig.run(0.5)
    assert rig.node.fault is None


def scaling_of_a_tenth_from_the_start(rig):
    """Speeds that are none are ignored; more than all of it is all of it."""
    rig.driver.scaling, rig.driver.publishes_scaling = 0.1, False
    for wrong in (math.nan, math.inf, -5.0):
        count = rig.node.ignored_counts[SCALING]
        rig.driver.publishers["scaling"].publish(Float64(data=wrong))
        rig.run_until(lambda count=count: rig.node.ignored_counts[SCALING] > count)
    rig.driver.publishes_scaling = True
    rig.run(0.1)
    rig.drive()
    rig.run(0.5)
    assert rig.node.fault is None


def wrong_controller(rig):
    rig.driver.switch(False)
    message = rig.refusal("controller is not active")
    command = f"switch_controllers --activate {CONTROLLER} --deactivate {OTHER}"
    assert f"{CONTROLLER} is inactive; type: ros2 control {command}" in message
    rig.driver.switch(True)
    rig.engage()


def controller_not_loaded(rig):
    del rig.driver.states[CONTROLLER]
    message = rig.refusal("is not loaded")
    assert f"type: ros2 run controller_manager spawner {CONTROLLER}" in message
    rig.driver.states[CONTROLLER] = "active"
    rig.engage()


def controller_switched_away(rig):
    """Another controller moves the arm; no old command is left when it is switched back."""
    rig.drive()
    rig.driver.switch(False)
    rig.latched(f"controller is not active: {CONTROLLER} is inactive")
    for _ in range(10):
        rig.driver.q = rig.driver.q + 0.02
        rig.run(0.02)
    rig.driver.switch(True)
    rig.run(0.2)
    assert rig.node.fault is not None
    rig.drive()


def controllers_of_another_arm(rig):
    """Statuses that do not tell two controller managers apart are not used."""
    managers = [
        rclpy.create_node(
            "controller_manager", namespace=space, context=rig.probe.context,
            use_global_arguments=False,
        )
        for space in ("/", "/right")
    ]  # fmt: skip

    def are_seen(count):
        names = [name for name, _ in rig.node.get_node_names_and_namespaces()]
        return names.count("controller_manager") == count

    rig.run_until(lambda: are_seen(2))
    monitor = rig.node.supervision.driver.monitor
    rig.driver.switch(False)
    for manager in ("controller_manager", "/right/controller_manager"):
        rig.driver.manager = manager
        rig.run(0.3)
        assert monitor.fault(time.monotonic()) is None, manager
    rig.driver.manager = "/controller_manager"
    rig.refusal("controller is not active")
    rig.driver.manager = "controller_manager"
    rig.driver.switch(True)
    for manager in managers:
        manager.destroy_node()
    rig.run_until(lambda: are_seen(0))
    rig.engage()


def late_controller(rig):
    rig.driver.listen(False)
    rig.refusal("no controller listens on /forward_position_controller/commands")
    rig.driver.listen(True)
    rig.engage()


def controller_that_executes_nothing(rig):
    """Nobody reports that it is not active; it shows in that the arm does not follow."""
    rig.driver.publishes_controllers, rig.driver.obeys = False, False
    rig.engage()
    rig.latched("joint does not follow", "joint states are frozen")
    rig.run(0.2)
    rig.driver.obeys = True
    rig.run(0.2)
    rig.drive()


def driver_restarted_in_another_pose(rig):
    rig.drive()
    rig.driver.publishes_joints = False
    rig.latched("joint states stopped")
    rig.driver.switch(True)
    rig.driver.q = rig.driver.q + 0.3
    rig.driver.publishes_joints = True
    rig.run(0.3)
    assert rig.driver.setpoint is None, "no command of before the restart"
    rig.drive()


def clock_of_its_own(rig):
    rig.driver.clock_offset = -3.0
    rig.refusal("stamps of joint states are 3 s behind the clock of this computer, limit 0.1")
    rig.driver.clock_offset = 0.0
    rig.node.controller.reset()
    rig.engage()


def speed_scaling_lost(rig):
    rig.drive()
    rig.driver.publishes_scaling = False
    rig.latched("no message on speed_scaling_state_broadcaster/speed_scaling")
    rig.driver.publishes_scaling = True
    rig.drive()


def narrower_limits(rig):
    urdf = (ROOT / "urdf" / "ur5.urdf").read_text()
    description = rig.driver.publishers["description"]
    description.publish(String(data=urdf.replace('velocity="3.14', 'velocity="1.14')))
    assert "limits velocity of shoulder_pan_joint to 1.1" in rig.refusal("robot_description")
    description.publish(String(data=urdf))
    rig.engage()


CASES = {
    "ur5": (
        joints_in_another_order_among_those_of_other_devices,
        joint_missing,
        joint_missing_in_motion,
        names_with_a_prefix,
        engaging_while_paused,
        pause_and_resume,
        pause_in_which_the_arm_is_moved,
        program_stopped_and_started_again,
        safety_stop,
        scaling_of_a_tenth,
        scaling_of_a_tenth_from_the_start,
        wrong_controller,
        controller_not_loaded,
        controller_switched_away,
        controllers_of_another_arm,
        late_controller,
        controller_that_executes_nothing,
        driver_restarted_in_another_pose,
        clock_of_its_own,
        speed_scaling_lost,
        narrower_limits,
    ),
    "ur5e": (pause_and_resume, program_stopped_and_started_again),
}


@pytest.mark.parametrize(
    ("arm", "case"),
    [pytest.param(a, c, id=f"{a}-{c.__name__}") for a, cases in CASES.items() for c in cases],
)
def test_driver_case_is_named_and_followed_without_a_jump(rigs, arm, case):
    """At 125 Hz (ur5) and at 500 Hz (ur5e)."""
    rig = rigs(arm)
    case(rig)
    assert not rig.driver.first_steps or max(rig.driver.first_steps) < FIRST_STEP
