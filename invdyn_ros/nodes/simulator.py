"""Simulator node: simulates an arm behind the topics of the real driver."""

import time
from dataclasses import dataclass, field
from typing import Literal

from geometry_msgs.msg import PoseArray, WrenchStamped
from pydantic import NonNegativeInt, PositiveFloat
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.arms.pybullet_simulation import NO_PUSH
from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.graph.topics import (
    CLOCK,
    COMMANDS,
    GRIPPER_COMMAND,
    JOINT_STATES,
    OBJECTS,
    PAUSE,
    PUSH,
    RESET,
)
from invdyn_ros.grasp.envs.grasp_simulation import MAX_EPISODE_SECONDS, GraspSimulation
from invdyn_ros.grasp.policies.tasks import Task
from invdyn_ros.models.payload_file import load_payload
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import (
    command_stamp,
    latest_qos,
    message_to_command,
    poses_to_message,
    to_stamp,
)
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.nodes.state_publisher import StatePublisher
from invdyn_ros.nodes.wrench import message_to_wrench
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.typing import Array

MAX_LAG = 0.095  # [s] behind real time up to which the simulation catches up; more is a fault
CATCH_UP_PERIOD = 0.6  # longest time for a tick that is late, as it needs a command, too [periods]
PUSH_TIMEOUT = 0.1  # [s] without a message, after which nobody pushes
RESEND_PERIOD = 0.5  # [s] without a command, after which lockstep repeats the state
WARNING_PERIOD = 20.0  # [s] without a command, after which lockstep logs a warning
LOCKSTEP_DEPTH = 200  # messages kept for a subscriber that is slow, since each one counts


@dataclass(frozen=True)
class SimulatorNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        unit: unit of the commands, N m or rad; empty for that of the arm.
        seed: seed of all random numbers.
        noise: domain randomization level, of an arm with a scene from the next episode on.
        scene: whether there is a table with marked blocks in front of the arm.
        blocks: file of the blocks; empty: the block of the arm's entry.
        task: what ends an episode: one block at its goal, all sorted, or all stacked.
        repeats_task: whether the arm stays where it is and time goes on when an episode ends, and
            only the blocks are laid elsewhere.
        max_episode_seconds: maximum duration of an episode [s], after which the next one starts;
            only with a scene.
        lockstep: wait for the command of each tick.
        wall_clock: stamp messages with the wall clock instead of the time since the start of the
            episode.
        headless: run without a window.
        obstacles: YAML file of table and boxes; empty: those of the arm.
        payload: file of what the arm carries beside what its URDF and its plant have; empty:
            nothing.
        wait_for_topics: topics, separated by spaces, that need a publisher and a subscriber before
            time starts. With the wall clock, time starts at once, as with a real arm.
    """

    arm: str = "ur5"
    unit: Literal["", "N m", "rad"] = ""
    seed: NonNegativeInt = 0
    noise: Literal["none", "default", "hard"] = field(default="default", metadata=RECONFIGURABLE)
    scene: bool = False
    blocks: str = ""
    task: Task = "grasp"
    repeats_task: bool = False
    max_episode_seconds: PositiveFloat = field(
        default=MAX_EPISODE_SECONDS, metadata=RECONFIGURABLE
    )
    lockstep: bool = False
    wall_clock: bool = True
    headless: bool = True
    obstacles: str = ""
    payload: str = ""
    wait_for_topics: str = ""


class SimulatorNode(DiagnosticNode):
    """Step the physics at the rate of the arm, in real time or in lockstep with the commands.

    In real time, each past interval is simulated with the last command that arrived in it; in
    lockstep, with the command for its initial state. The drives have their own watchdog.
    """

    def __init__(self) -> None:
        super().__init__("simulator")
        self.config = config = load_parameters(self, SimulatorNodeConfig, self.reconfigure)
        self.robot = load_robot(config.arm)
        if config.payload:
            self.robot = self.robot.carrying(load_payload(config.payload))
        names = load_parameters(self, NamesConfig)
        self.names = RobotNames.of(self.robot, names, self.get_namespace())
        unit = config.unit or self.robot.action_unit
        self.scene = load_scene(config.arm, config.blocks) if config.scene else None
        self.simulation = GraspSimulation(
            self.robot,
            load_randomization(config.noise),
            self.scene,
            unit,
            config.seed,
            config.max_episode_seconds,
            gui=not config.headless,
            obstacles=load_obstacles(config.obstacles) if config.obstacles else None,
            task=config.task,
        )
        self.physics = self.simulation.physics
        self.command: tuple[int | None, Array | None] | None = None
        self.gripper_command: tuple[int | None, float] | None = None
        self.command_is_new = False  # whether it arrived since the last step
        self.paused = False
        self.waiting_for_topics = not config.wall_clock
        qos = QoSProfile(depth=LOCKSTEP_DEPTH if config.lockstep else 10)
        self.joint_state_publisher = self.create_publisher(JointState, JOINT_STATES, qos)
        self.state_publisher = StatePublisher(self, self.robot, names.tf_prefix)
        self.clock_publisher = self.create_publisher(Clock, CLOCK, qos)
        self.block_pose_publisher = self.create_publisher(PoseArray, OBJECTS, qos)
        self.create_subscription(
            Float64MultiArray, COMMANDS[unit], self.on_command, latest_qos(config.lockstep)
        )
        self.create_subscription(Float64MultiArray, GRIPPER_COMMAND, self.on_gripper_command, qos)
        self.create_subscription(WrenchStamped, PUSH, self.on_push, latest_qos(False))
        self.create_service(Trigger, RESET, self.on_reset)
        self.create_service(SetBool, PAUSE, self.on_pause)
        self.next_episode()

    def reconfigure(self, config: SimulatorNodeConfig) -> None:
        """Change the noise and the time limit of the episodes."""
        self.config = config
        self.simulation.set_noise(load_randomization(config.noise))
        self.simulation.max_episode_seconds = config.max_episode_seconds

    def close(self) -> None:
        """Close the simulation."""
        self.simulation.close()

    def next_episode(self) -> None:
        """Reset the simulation to the next random episode; simulated time restarts."""
        self.simulation.next_episode()
        self.start_clock()
        self.command = self.gripper_command = None
        self.command_is_new = False
        self.push_end = 0  # tick at which nobody pushes any more

    def start_clock(self) -> None:
        """Start the time of this episode."""
        self.origin = time.time_ns() if self.config.wall_clock else 0
        self.due = time.monotonic()

    @property
    def stamp(self) -> int:
        """Time of the state [ns]."""
        return self.origin + round(self.physics.ticks * 1e9 / self.robot.rate)

    def step(self, spin: Spin) -> None:
        """Publish a state, wait for its commands, step the simulation."""
        if self.waiting_for_topics:
            spin(0.05)
            self.waiting_for_topics = not self.topics_connected(self.config.wait_for_topics)
            self.start_clock()
            return
        self.publish()
        if self.config.lockstep:
            self.wait_for_commands(spin)
        else:
            self.wait_for_tick(spin)
        command = self.command[1] if self.command and self.command_is_new else None
        self.command_is_new = False
        opening = self.gripper_command[1] if self.gripper_command else None
        if self.physics.ticks > self.push_end:
            self.physics.push = NO_PUSH
        self.simulation.step(command, opening)
        self.hold(self.physics.problem)
        if self.simulation.is_over():
            if self.config.repeats_task:
                self.simulation.repeat_task()
            else:
                self.next_episode()

    def wait_for_tick(self, spin: Spin) -> None:
        """Process commands until the next tick is due; a lag above MAX_LAG is not caught up.

        A late process is a late arm: it catches up with a command for each tick.
        """
        period = 1 / self.robot.rate
        self.due += period
        latest = time.monotonic() + CATCH_UP_PERIOD * period
        while self.paused or (remaining := self.due - time.monotonic()) > 0:
            spin(0.1 if self.paused else remaining)
            if self.paused:
                self.due = time.monotonic() + period
        while not self.command_is_new and (remaining := latest - time.monotonic()) > 0:
            spin(remaining)
        for _ in range(5):  # messages that have arrived meanwhile
            spin(0)
        if time.monotonic() - self.due > MAX_LAG:
            self.warnings.warn("slower than real time; reduce the load of the machine")
            self.due = time.monotonic()
            if self.config.wall_clock:
                self.origin += max(time.time_ns() - self.stamp, 0)

    def wait_for_commands(self, spin: Spin) -> None:
        """Wait for the commands for this state; repeat it if one may have been lost."""
        stamp, sent, warned = self.stamp, time.monotonic(), time.monotonic()
        while not self.has_commands(stamp):
            spin(RESEND_PERIOD)
            if self.paused:
                sent = warned = time.monotonic()
            if time.monotonic() - sent > RESEND_PERIOD:
                sent = time.monotonic()
                self.publish(resend=True)
            if time.monotonic() - warned > WARNING_PERIOD:
                warned = time.monotonic()
                self.warnings.warn("lockstep: no command yet; check that all nodes run")

    def has_commands(self, stamp: int) -> bool:
        """Return whether all commands for a stamp [ns] have arrived."""
        arm = self.command is not None and self.command[0] == stamp
        gripper = self.scene is None or (
            self.gripper_command is not None and self.gripper_command[0] == stamp
        )
        return arm and gripper and not self.paused

    def publish(self, resend: bool = False) -> None:
        """Publish joint states, clock and, at the rate of the camera, true block poses.

        Args:
            resend: whether to repeat the last block poses, which may have been lost.
        """
        physics, stamp = self.physics, to_stamp(self.stamp)
        self.clock_publisher.publish(Clock(clock=stamp))
        if self.scene is not None:
            if self.simulation.camera_due:
                poses = physics.block_poses()
                self.block_poses = poses_to_message(poses, stamp, self.names.base_link)
            if self.simulation.camera_due or resend:
                self.block_pose_publisher.publish(self.block_poses)
        _, q, qd, effort, opening = physics.state()
        self.joint_state_publisher.publish(
            joints_to_message(self.names, stamp, q, opening, qd, effort)
        )
        if self.state_publisher.is_due(self.stamp):
            self.state_publisher.publish(self.stamp, self.names.positions(q, opening))

    def on_command(self, message: Float64MultiArray) -> None:
        """Store a command for the arm; in lockstep an empty one means that none is given."""
        if self.config.lockstep and not message.data:
            self.command, self.command_is_new = (command_stamp(message), None), False
            return
        values = message_to_command(message, self.robot.n)
        self.command, self.command_is_new = (command_stamp(message), values), True

    def on_gripper_command(self, message: Float64MultiArray) -> None:
        """Store the desired opening of the gripper [m]."""
        opening = float(message_to_command(message, 1)[0])
        self.gripper_command = (command_stamp(message), opening)

    def on_push(self, message: WrenchStamped) -> None:
        """Push the tip of the arm, until no more messages come."""
        self.physics.push = message_to_wrench(message, self.names)
        self.push_end = self.physics.ticks + round(PUSH_TIMEOUT * self.robot.rate)

    def on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start the next episode."""
        self.next_episode()
        response.success, response.message = True, f"episode {self.simulation.episode}"
        return response

    def on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Pause (true) or resume (false)."""
        self.paused = request.data
        response.success, response.message = True, "paused" if request.data else "running"
        return response


def main() -> None:
    """Run the node."""
    run(SimulatorNode)


if __name__ == "__main__":
    main()
