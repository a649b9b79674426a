"""A real driver in all its moods, on a stand-in over DDS: named, no jump, latched or resumed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from driver_stand_in import CONTROLLER, NORMAL, OTHER, PROTECTIVE_STOP, DriverStandIn
from node_probe import CHECKPOINTS, ROOT, TARGETS, node_starter
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.nodes.inverse_dynamics import InverseDynamicsNode
from invdyn_ros.nodes.messages import target_to_message, to_stamp
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.robots.robot import load_robot

FIRST_STEP = 0.02  # [rad] at most
PATIENCE = 0.5  # [s] for which the arm waits for a command
TARGET_PERIOD = 1 / 30  # [s]
# driver and node share this process, so joint states may stay away while others run
PATIENT = {"joint_state_timeout": 1.0, "max_gap": 1.0, "simulated_time": True}


class Rig:
    """A node with the stand-in of its driver, and targets that move two joints."""

    def __init__(self, start_node, arm, folder):
        self.robot = load_robot(arm)
        driver = yaml.safe_load((ROOT / "config" / "drivers" / f"{arm}.yaml").read_text())
        # the message of the safety mode is not installed here
        driver["conditions"][0] |= {"type": "std_msgs/msg/UInt8", "field": "data"}
        file = Path(folder) / f"{arm}.yaml"
        file.write_text(yaml.safe_dump(driver))
        self.probe = start_node(
            InverseDynamicsNode,
            arm=arm,
            checkpoint=CHECKPOINTS / f"{arm}_position",
            driver=file,
            **PATIENT,
        )
        self.node = self.probe.tested_node
        self.driver = DriverStandIn(self.probe.node, self.robot)
        self.targets = self.probe.node.create_publisher(JointTrajectory, TARGETS, 10)
        self.client = self.probe.node.create_client(SetBool, "/inverse_dynamics/engage")
        self.next_target = 0.0

    def run_until(self, condition, seconds=20.0):
        """Run until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.node.hold_reason, self.node.fault)
            if self.probe.failure is not None:
                raise self.probe.failure
            self.driver.step(self.is_driven)
            if self.driver.now > self.next_target:
                self.next_target = self.driver.now + TARGET_PERIOD
                self.publish_target()
            self.wait_for_command()

    @property
    def is_driven(self):
        """Whether a command must come for each joint state."""
        controller = self.node.controller
        response = controller._response
        is_stopping = response is not None and not response.is_over
        return controller.plan is not None and (controller.engaged or is_stopping)

    def wait_for_command(self):
        """Wait for a control period, and longer for a command that must come."""
        count, end = len(self.driver.commands), time.monotonic() + 1 / self.robot.rate
        while (left := end - time.monotonic()) > 0:
            self.probe.executor.spin_once(timeout_sec=left)
        while self.is_driven and len(self.driver.commands) == count:
            if time.monotonic() > end + PATIENCE:
                break
            self.probe.executor.spin_once(timeout_sec=0.01)

    def run(self, seconds):
        """Run for a time [s]."""
        end = self.driver.now + seconds
        self.run_until(lambda: self.driver.now > end)

    def publish_target(self):
        w, t = 2.5, self.driver.now
        q, qd = self.robot.home.copy(), np.zeros(self.robot.n)
        q[[0, 5]] += 0.25 * np.sin(w * t)
        qd[[0, 5]] = 0.25 * w * np.cos(w * t)
        target = Target(0.0, State(q, qd, np.zeros(self.robot.n)), 0.0)
        names = RobotNames.of(self.robot)
        self.targets.publish(target_to_message(target, names, to_stamp(round(1e9 * t))))

    def call(self, on):
        """Call the service; return its response."""
        self.run_until(self.client.service_is_ready)
        future = self.client.call_async(SetBool.Request(data=on))
        self.run_until(future.done)
        return future.result()

    def engage(self):
        """Engage as soon as that is possible."""
        self.run_until(lambda: self.call(True).success)

    def drive(self):
        """Engage, and drive until the arm moves."""
        self.engage()
        start = self.driver.q
        self.run_until(lambda: np.abs(self.driver.q - start).max() > 0.03)
        assert self.node.fault is None

    def refusal(self, part):
        """Return the response to a call that is refused with a reason."""
        node = self.node
        self.run_until(lambda: part in f"{node.topics.refusal()} {node.driver.refusal()}")
        response = self.call(True)
        assert not response.success and part in response.message
        return response.message

    def latched(self, *parts):
        """Wait for a fault; return how many commands had come once it was there."""
        self.run_until(lambda: self.node.fault is not None)
        part = next((p for p in parts if p in self.node.fault), parts[0])
        self.run(0.1)
        count = len(self.driver.commands)
        self.run(0.15)
        assert part in str(self.node.fault), "a fault stays until the arm is engaged again"
        return count

    def restore(self):
        """Return to a disengaged arm at home, and a driver that is ready."""
        self.run_until(lambda: self.call(False).success)
        self.run_until(lambda: self.node.controller.plan is None)
        self.run(0.1)  # commands on their way
        self.driver.restore()
        self.node.controller.reset()  # the arm was put somewhere else
        self.run_until(lambda: self.node.fault is None)
        monitor = self.node.driver.monitor
        self.run_until(lambda: monitor.refusal(time.monotonic()) is None)


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


def joints_in_another_order(rig):
    rig.driver.order = [3, 1, 5, 0, 2, 4]
    rig.drive()


def joints_of_other_devices(rig):
    """As one message, and as another message on the same topic."""

    def with_others(message):
        message.name = ["rail", *message.name, "lift"]
        for values in ("position", "velocity", "effort"):
            setattr(message, values, [0.1, *getattr(message, values), float("nan")])
        return message

    rig.driver.change = with_others
    knuckle = JointState(name=["robotiq_85_left_knuckle_joint"], position=[0.1])
    rig.driver.other_messages.append(knuckle)
    rig.drive()


def joint_missing(rig):
    rig.driver.names[2] = "another"
    assert "joint_states lacks ['elbow_joint']" in rig.refusal("no joint states of the arm")
    rig.driver.names = list(rig.robot.joint_names)
    rig.drive()


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


def velocities_and_efforts_not_a_number(rig):
    def without(message):
        message.velocity = message.effort = [float("nan")] * rig.robot.n
        return message

    rig.driver.change = without
    rig.drive()


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
    rig.drive()


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
    rig.driver.scaling = 0.1
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
    rig.drive()


def controller_not_loaded(rig):
    del rig.driver.states[CONTROLLER]
    message = rig.refusal("is not loaded")
    assert f"type: ros2 run controller_manager spawner {CONTROLLER}" in message
    rig.driver.states[CONTROLLER] = "active"
    rig.drive()


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


def late_controller(rig):
    rig.driver.listen(False)
    rig.refusal("no controller listens on /forward_position_controller/commands")
    rig.driver.listen(True)
    rig.drive()


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
    rig.drive()


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
    rig.drive()


CASES = {
    "ur5": (
        joints_in_another_order,
        joints_of_other_devices,
        joint_missing,
        joint_missing_in_motion,
        names_with_a_prefix,
        velocities_and_efforts_not_a_number,
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
        late_controller,
        controller_that_executes_nothing,
        driver_restarted_in_another_pose,
        clock_of_its_own,
        speed_scaling_lost,
        narrower_limits,
    ),
    "ur5e": (pause_and_resume, scaling_of_a_tenth, program_stopped_and_started_again),
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
