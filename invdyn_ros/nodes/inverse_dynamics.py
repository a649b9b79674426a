"""Inverse dynamics node: joint commands that track a joint target, from a learned model."""

import sys
import time
from dataclasses import replace

from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller_loading import load_controller, load_dropout_controller
from invdyn_ros.control.dropout_controller import DropoutController
from invdyn_ros.control.faults import MeasurementMonitorConfig
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.state_predictor import StatePredictorConfig
from invdyn_ros.graph.topics import JOINT_STATES, JOINT_TARGET
from invdyn_ros.nodes.command_publisher import CommandPublisher
from invdyn_ros.nodes.driver_topics import monitor_config
from invdyn_ros.nodes.inverse_dynamics_config import InverseDynamicsNodeConfig
from invdyn_ros.nodes.joint_states import ArmJoints
from invdyn_ros.nodes.managed_node import ManagedNode
from invdyn_ros.nodes.messages import (
    joint_states_qos,
    latest_qos,
    message_to_target,
    to_nanoseconds,
)
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import load_parameters, run
from invdyn_ros.nodes.start_condition import DISCOVERY_TIME, StartCondition
from invdyn_ros.nodes.supervision import Supervision
from invdyn_ros.nodes.target_queue import TargetQueue
from invdyn_ros.nodes.topic_monitor import TopicMonitor, find_command_topic
from invdyn_ros.robots.driver import load_driver
from invdyn_ros.robots.robot import load_robot

PREDICTION_PERIOD = 0.25  # [samples] between checks whether a joint state is missing
WATCHDOG_PERIOD = 0.01  # [s] between checks of the age of the joint states
MAX_ENDING_TIME = 0.7  # [s] after a signal in which the arm comes to rest


class InverseDynamicsNode(ManagedNode):
    """Publish a command for each joint state, and brake if no joint state arrives."""

    def __init__(self) -> None:
        super().__init__("inverse_dynamics")
        discovered = time.monotonic() + DISCOVERY_TIME
        self.config = load_parameters(self, InverseDynamicsNodeConfig)
        self.safety = load_parameters(self, SafetyLimitsConfig, self.set_safety)
        thresholds = load_parameters(self, MeasurementMonitorConfig, self.set_thresholds)
        self.thresholds = self.with_clock(thresholds)
        self.predictor_config = load_parameters(self, StatePredictorConfig)
        self.names_config = load_parameters(self, NamesConfig)
        self.start(self.config.autostart)
        if self.config.autostart:
            condition = StartCondition(self.config.engaged, discovered)
            self.supervision.start_condition = condition

    def configure(self) -> None:
        """Load the model, and create the controller with its topics.

        Raises:
            ValueError: a parameter has a wrong value.
        """
        config = self.config
        self.robot = load_robot(config.arm)
        self.names = RobotNames.of(self.robot, self.names_config, self.get_namespace())
        driver = load_driver(config.driver, self.robot) if config.driver else None
        if driver is not None:
            self.robot = driver.limited(self.robot)
        self.create_controller(monitor_config(self.thresholds, driver, self.robot))
        interface = None if driver is None else driver.interface(self.controller.unit)
        topic = (
            interface.topic
            if interface
            else find_command_topic(self.controller.unit, config.checkpoint)
        )
        self.queue = TargetQueue(config.target_rate or self.robot.rate, self.robot.rate)
        self.joints = ArmJoints(self.names.joint_names)
        self.measured: tuple[int, MeasuredState] | None = None
        self.target_stamp: int | None = None
        self.last_command: tuple[int, Command] | None = None
        self.publisher = CommandPublisher(self, self.controller, self.names, topic, interface)
        qos = latest_qos(config.lockstep)
        states = JOINT_STATES if driver is None else driver.joint_states
        states_qos = joint_states_qos(config.lockstep)
        self.create_subscription(
            JointState, states, self.on_joint_state, states_qos, is_input=True
        )
        if not config.floating:
            self.create_subscription(JointTrajectory, JOINT_TARGET, self.on_target, qos)
        takes_goals = interface is not None and interface.takes_goals
        topics = TopicMonitor(self, topic, self.robot.rate, takes_goals)
        self.supervision = Supervision(
            self, self.controller, topics, self.publisher, config.lockstep, config.resume
        )
        if driver is not None:
            self.supervision.watch(driver, self.names.joint_names)
        if self.dropout_controller is not None:
            self.create_timer(PREDICTION_PERIOD / self.robot.rate, self.on_prediction_timer)
        if "torch" in sys.modules:  # a model needs it; one frame is faster in one thread
            sys.modules["torch"].set_num_threads(1)
        self.create_timer(WATCHDOG_PERIOD, self.on_watchdog_timer)

    def create_controller(self, monitor: MeasurementMonitorConfig) -> None:
        """Load the model, and create the controller with thresholds of the faults."""
        config = self.config
        self.controller, self.diagnostic_values = load_controller(
            *(self.robot, config.checkpoint, config.device, self.safety, monitor),
            obstacles=config.obstacles,
            unsafe=config.unsafe,
            floating=config.floating,
            payload=config.payload,
        )
        watches = self.controller.actions.drift is not None or config.floating
        if self.controller.unit == "N m" and not watches:
            self.get_logger().info(
                "model drift is not watched: the checkpoint has no statistics of residuals; "
                "'invdyn train' stores them"
            )
        self.dropout_controller: DropoutController | None = None
        if config.state_predictor and not config.lockstep:
            self.dropout_controller = load_dropout_controller(
                self.controller, config.state_predictor, self.predictor_config
            )

    def on_joint_state(self, message: JointState) -> None:
        """Publish the command for a joint state; in lockstep, once its target has arrived."""
        clock = time.monotonic()
        values = self.joints(message)
        if values is None:
            return  # another message has the other joints
        stamp, q, qd, effort = values
        self.supervision.on_joint_state(stamp, clock)
        measured = MeasuredState(stamp * 1e-9, q, qd, effort)
        if self.measured is not None and stamp < self.measured[0]:
            self.target_stamp = self.last_command = None  # the simulation was reset
        self.measured = (stamp, measured)
        if self.config.lockstep:
            self.publish_in_lockstep()
            return
        if self.dropout_controller is None:
            command: Command | None = self.controller.update(measured, clock)
        else:
            command = self.dropout_controller.on_joint_state(measured, clock)
        if command is not None:
            self.publish(stamp, command)

    def on_target(self, message: JointTrajectory) -> None:
        """Set a new target, which the next command follows."""
        target = message_to_target(message, self.names.joint_names)
        stamp = to_nanoseconds(message.header.stamp)
        if self.config.lockstep:
            self.queue.add(stamp, target)
            self.publish_in_lockstep()
        else:
            self.target_stamp = stamp
            self.controller.set_target(target)

    def on_watchdog_timer(self) -> None:
        """Check the age of the joint states and, less often, the other nodes."""
        clock = time.monotonic()
        self.supervision.check(clock)
        if not self.config.lockstep:
            command = self.controller.check(clock)
            if command is not None:
                self.publish(round(1e9 * self.controller.monitor.time(clock)), command)

    def on_prediction_timer(self) -> None:
        """Publish a command for a missing joint state."""
        if self.dropout_controller is None:
            return
        stamped = self.dropout_controller.predict_missing(time.monotonic())
        if stamped is not None:
            self.publish(round(stamped.time * 1e9), stamped.command)
        count = self.dropout_controller.predicted_count
        self.diagnostic_values["commands from predicted joint states"] = str(count)

    def publish_in_lockstep(self) -> None:
        """Publish the one command for the newest joint state once its target has arrived.

        The simulator repeats a joint state whose command was lost; it gets the same command again,
        so a lost message does not change the run.
        """
        if self.measured is None:
            return
        stamp, measured = self.measured
        if self.last_command is None or self.last_command[0] != stamp:
            if not self.config.floating:
                stamped = self.queue.at(stamp)
                if stamped is None:
                    return
                if stamped[0] != self.target_stamp:  # else a repeated one would be planned again
                    self.target_stamp = stamped[0]
                    self.controller.set_target(stamped[1])
            self.last_command = (stamp, self.controller.update(measured))
        self.publish(*self.last_command)

    def publish(self, stamp: int, command: Command) -> None:
        """Publish a command, and show why the arm holds.

        Args:
            stamp: time of the joint state that the command is for [ns].
            command: output of the controller.
        """
        self.supervision.show(command)
        if command.action is not None and not self.supervision.is_silent:
            self.publisher.publish(command, stamp, self.target_stamp)
        elif self.config.lockstep:  # the simulator waits for an answer
            self.publisher.publish_none(stamp)
        elif not (self.controller.is_moving or self.supervision.is_silent):
            self.publisher.end(stamp)

    def release(self) -> None:
        """Free the model."""
        del self.controller, self.dropout_controller, self.publisher, self.supervision

    def engage(self) -> str | None:
        """Engage the controller at once; return why it is refused, None if it is done."""
        self.supervision.start_condition.end()
        return self.supervision.engage()

    def engage_note(self) -> str:
        """Return what to add to the answer when the arm was engaged."""
        driver = self.supervision.driver
        return "" if driver is None else driver.unwatched()

    def disengage(self) -> None:
        """Bring the arm to rest along its verified plan; then it gets no more commands."""
        self.supervision.start_condition.end()
        self.controller.engage(False)
        self.note_engaged(False)

    def stop(self) -> None:
        """Bring the arm to rest, as asked by somebody beside who engages it."""
        self.supervision.start_condition.end()
        self.controller.stop()
        self.note_engaged(False)

    @property
    def is_moving(self) -> bool:
        """Whether the arm is driven, or is on its way to rest."""
        return self.controller.is_moving

    def set_safety(self, safety: SafetyLimitsConfig) -> None:
        """Change speeds and timeouts of the next plans."""
        self.safety = safety
        if self.is_configured:
            self.controller.set_safety(safety)

    def set_thresholds(self, thresholds: MeasurementMonitorConfig) -> None:
        """Change the thresholds of the faults."""
        self.thresholds = self.with_clock(thresholds)
        if self.is_configured:
            watched = self.supervision.driver
            driver = None if watched is None else watched.driver
            config = monitor_config(self.thresholds, driver, self.robot)
            self.controller.monitor.set_config(config)

    def with_clock(self, thresholds: MeasurementMonitorConfig) -> MeasurementMonitorConfig:
        """Return thresholds for stamps of the node's clock."""
        simulated = thresholds.simulated_time or self.uses_simulated_time
        return replace(thresholds, simulated_time=simulated)

    def end(self, spin: Spin) -> None:
        """Brake to rest before the process ends; simulated time may stand still."""
        if not self.is_configured or self.config.lockstep:
            return
        self.disengage()
        deadline = time.monotonic() + MAX_ENDING_TIME
        while self.is_moving and time.monotonic() < deadline:
            spin(WATCHDOG_PERIOD)

    def close(self) -> None:
        """Let the arm hold itself against gravity, however the process ends."""
        if self.is_configured and self.context.ok() and not self.supervision.is_silent:
            self.publisher.end(self.get_clock().now().nanoseconds)


def main() -> None:
    """Run the node."""
    run(InverseDynamicsNode)


if __name__ == "__main__":
    main()
