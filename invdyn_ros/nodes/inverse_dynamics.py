"""Current and wanted next state in, the joint command that a learned model gives out."""

import math
import time
from dataclasses import dataclass

import torch
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState, TimeReference
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController, Command
from invdyn_ros.control.dropout_controller import DropoutController, StampedCommand
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.state_predictor import LearnedStatePredictor, StatePredictorConfig
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.models.timeseries.registry import load_time_series_model
from invdyn_ros.nodes.joint_states import joints_by_name
from invdyn_ros.nodes.messages import (
    COMMAND_TOPICS,
    command_to_message,
    message_to_target,
    newest,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.robot import load_robot

OVERDUE_CHECK_SAMPLES = 0.25  # samples between two looks at the clock


@dataclass(frozen=True)
class InverseDynamicsNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm.
        checkpoint: directory or .onnx file of the model.
        device: auto, cpu or cuda.
        engaged: drive as soon as joint states arrive, without the engage service.
        lockstep: answer each joint state exactly once, after the target that belongs to it.
        target_rate: in lockstep, targets are stamped at multiples of 1/target_rate [Hz].
        state_predictor: directory of a path model, which says where the arm is while joint states are
            missing; in lockstep none is. Without it each joint state is answered, and no more.
    """

    arm: str = "ur5"
    checkpoint: str = ""
    device: str = "auto"
    engaged: bool = False
    lockstep: bool = False
    target_rate: float = 0.0
    state_predictor: str = ""

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, got '{self.device}'")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is cuda, but torch sees no GPU; use auto or cpu")


class InverseDynamicsNode(DiagnosticNode):
    """Answer each joint state with a command, and each new target at once."""

    def __init__(self) -> None:
        super().__init__("inverse_dynamics")
        self.config = load_parameters(self, InverseDynamicsNodeConfig)
        guard, unseen = (
            load_parameters(self, SafetyLimitsConfig),
            load_parameters(self, StatePredictorConfig),
        )
        torch.set_num_threads(1)
        robot = load_robot(self.config.arm)
        model = load_runtime(self.config.checkpoint, self.config.device, robot)
        unit = model.meta.action_unit
        if unit not in COMMAND_TOPICS:
            raise ValueError(
                f"checkpoint {self.config.checkpoint} has actions in '{unit}'; controllers take "
                f"{sorted(COMMAND_TOPICS)}"
            )
        self.robot, self.names = robot, robot.joint_names
        fallback = fallback_from_metadata(model.meta)
        self.controller = ArmController(
            robot, model, unit, model.meta.action_delay, guard, fallback=fallback
        )
        self.controller.engage(self.config.engaged)
        self.diagnostic_values = {
            "checkpoint": self.config.checkpoint,
            "family": model.meta.family,
        }
        self.diagnostic_values["runtime"] = type(model).__name__
        self.rate = self.config.target_rate or robot.rate
        self.measured: tuple[int, MeasuredState] | None = None
        self.target_stamp: int | None = None
        self.answer: tuple[int, Command] | None = None
        qos = QoSProfile(depth=10)
        self.commands = self.create_publisher(Float64MultiArray, COMMAND_TOPICS[unit], qos)
        self.desired_states = self.create_publisher(
            JointState, "/inverse_dynamics/desired_joint_state", qos
        )
        self.timing = self.create_publisher(TimeReference, "/timing", qos)
        reader = newest(self.config.lockstep)
        self.create_subscription(JointState, "/joint_states", self.on_joint_state, reader)
        self.create_subscription(JointTrajectory, "/joint_target", self.on_target, reader)
        self.dropout_controller: DropoutController | None = None
        if self.config.state_predictor and not self.config.lockstep:
            blind = LearnedStatePredictor(
                load_time_series_model(self.config.state_predictor), robot, unseen
            )
            self.dropout_controller = DropoutController(self.controller, blind)
            self.create_timer(
                OVERDUE_CHECK_SAMPLES / robot.rate, self._store_exception(self.on_overdue_check)
            )
        self.create_service(SetBool, "/inverse_dynamics/engage", self.on_engage)
        self.create_service(Trigger, "/inverse_dynamics/stop", self.on_stop)

    def on_joint_state(self, message: JointState) -> None:
        """Answer a joint state; in lockstep, once its target is there."""
        q, qd, _ = joints_by_name(message, self.names)
        stamp = to_nanoseconds(message.header.stamp)
        if self.measured is not None and stamp < self.measured[0]:
            self.target_stamp = self.answer = None  # the simulation was reset
        self.measured = (stamp, MeasuredState(stamp * 1e-9, q, qd))
        if self.config.lockstep:
            self.publish_in_lockstep()
        elif self.dropout_controller is None:
            self.publish(stamp, self.controller.update(self.measured[1]))
        elif (
            command := self.dropout_controller.on_joint_state(self.measured[1], time.monotonic())
        ) is not None:
            self.publish(stamp, command)

    def on_target(self, message: JointTrajectory) -> None:
        """Take a new target; outside lockstep, act on it at once."""
        target = message_to_target(message, self.names)
        self.target_stamp = to_nanoseconds(message.header.stamp)
        self.controller.set_target(target)
        if self.config.lockstep:
            self.publish_in_lockstep()
        elif self.dropout_controller is not None:
            self.publish_stamped(self.dropout_controller.recompute(time.monotonic()))
        elif self.measured is not None:
            self.publish(self.measured[0], self.controller.update(self.measured[1]))

    def on_overdue_check(self) -> None:
        """Answer for a joint state that is overdue."""
        if self.dropout_controller is not None:
            self.publish_stamped(self.dropout_controller.predict_missing(time.monotonic()))
            self.diagnostic_values["answers without a joint state"] = str(
                self.dropout_controller.predicted_count
            )

    def publish_in_lockstep(self) -> None:
        """Send the one answer to the newest joint state when its target has come.

        A repeated joint state (the simulator asks again when an answer is lost) gets the same
        answer, so a lost message never changes the run.
        """
        if self.measured is None:
            return
        stamp, measured = self.measured
        if self.answer is not None and self.answer[0] == stamp:
            self.publish(stamp, self.answer[1])
            return
        due = math.floor(stamp * 1e-9 * self.rate + 1e-6) / self.rate
        if self.target_stamp is None or self.target_stamp * 1e-9 < due - 1e-6:
            return
        self.answer = (stamp, self.controller.update(measured))
        self.publish(*self.answer)

    def publish_stamped(self, last_command: StampedCommand | None) -> None:
        """Send a command for a time of the arm, if there is one."""
        if last_command is not None:
            self.publish(round(last_command.time * 1e9), last_command.command)

    def publish(self, stamp: int, command: Command) -> None:
        """Send a command and what it is for."""
        self.hold(command.reason)
        if command.action is None or command.desired is None:
            return
        self.commands.publish(command_to_message(command.action, stamp))
        if command.target_stamp is not None:
            self.timing.publish(
                TimeReference(
                    header=Header(stamp=to_stamp(self.target_stamp or 0)),
                    time_ref=self.get_clock().now().to_msg(),
                    source="command",
                )
            )
        if self.desired_states.get_subscription_count():
            state = command.desired
            self.desired_states.publish(
                JointState(
                    header=Header(stamp=to_stamp(stamp)),
                    name=list(self.names),
                    position=state.q.tolist(),
                    velocity=state.qd.tolist(),
                    effort=command.action.tolist(),
                )
            )

    def on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Close (true) or open (false) the clutch."""
        self.controller.engage(request.data)
        response.success = True
        response.message = "engaged from the measured joints" if request.data else "disengaged"
        return response

    def on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Stop sending commands until engaged again."""
        self.controller.stop()
        response.success = True
        response.message = "stopped; call /inverse_dynamics/engage to go on"
        return response


def main() -> None:
    """Run the node."""
    run(InverseDynamicsNode)


if __name__ == "__main__":
    main()
