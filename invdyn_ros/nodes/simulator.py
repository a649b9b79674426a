"""The simulated arm where the real one would be: the drivers' topics in, joint states out."""

import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.grasp.envs.grasp_simulation import MAX_EPISODE_SECONDS, GraspSimulation
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import (
    COMMAND_TOPICS,
    command_stamp,
    newest,
    poses_to_message,
    to_stamp,
)
from invdyn_ros.nodes.runner import DiagnosticNode, Spin, load_parameters, run
from invdyn_ros.robots.registry import find_spec
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.typing import Array

COMMAND_TIMEOUT = 0.1  # [s] without a command, then the brakes: as real drivers do
LATE = 0.05  # [s] behind real time, then the simulation slows down instead
PATIENCE = 0.5  # [s] until lockstep asks again


@dataclass(frozen=True)
class SimulatorConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm.
        unit: of the commands, N m or rad; empty: the arm's own.
        seed: seed of all noise.
        noise: none, default or hard.
        scene: put a table with a marked block in front of the arm.
        episode: longest time of an episode [s]; with a scene, the simulator starts the next one.
        lockstep: wait for the answer to each tick.
        wall_clock: stamp with the wall clock instead of the time since the reset, which starts
            again with every episode.
        headless: no window.
        wait_for_topics: time starts when each of these topics has both ends; parted by spaces. By
            the wall clock it runs at once: a real arm waits for nobody either.
    """

    arm: str = "ur5"
    unit: str = ""
    seed: int = 0
    noise: str = "default"
    scene: bool = False
    episode: float = MAX_EPISODE_SECONDS
    lockstep: bool = False
    wall_clock: bool = True
    headless: bool = True
    wait_for_topics: str = ""


class SimulatorNode(DiagnosticNode):
    """Step the physics at the arm's rate, in real time or in lockstep with the commands.

    In real time, the interval that has just passed is simulated with the commands that came in it;
    in lockstep, with the command that answers its first instant. Both are the same plant.
    """

    def __init__(self) -> None:
        super().__init__("simulator")
        self.config = config = load_parameters(self, SimulatorConfig)
        self.robot = load_robot(config.arm)
        unit = config.unit or self.robot.action_unit
        self.scene = find_spec(config.arm).scene if config.scene else None
        self.world = GraspSimulation(
            self.robot,
            load_randomization(config.noise),
            self.scene,
            unit,
            config.seed,
            config.episode,
            gui=not config.headless,
        )
        self.simulation = self.world.physics
        self.command: tuple[int | None, Array] | None = None
        self.grip: tuple[int | None, float] | None = None
        self.quiet = 0.0  # [s] of simulated time since the last command
        self.paused = False
        self.waiting = not config.wall_clock
        qos = QoSProfile(depth=10)
        self.joints = self.create_publisher(JointState, "/joint_states", qos)
        self.clock = self.create_publisher(Clock, "/clock", qos)
        self.objects = self.create_publisher(PoseArray, "/sim/objects", qos)
        self.create_subscription(
            Float64MultiArray, COMMAND_TOPICS[unit], self.on_command, newest(config.lockstep)
        )
        self.create_subscription(Float64MultiArray, "/gripper/command", self.on_grip, qos)
        self.create_service(Trigger, "/sim/reset", self.on_reset)
        self.create_service(SetBool, "/sim/pause", self.on_pause)
        self.next_episode()

    def close(self) -> None:
        """Free the physics."""
        self.world.close()

    def next_episode(self) -> None:
        """Put everything back and draw the next episode; simulated time starts again."""
        self.world.next_episode()
        self.start_clock()
        self.command = self.grip = None

    def start_clock(self) -> None:
        """Let the time of this episode begin now."""
        self.origin = time.time_ns() if self.config.wall_clock else 0
        self.due = time.monotonic()

    @property
    def stamp(self) -> int:
        """Time of the state [ns]."""
        return self.origin + round(self.simulation.ticks * 1e9 / self.robot.rate)

    def step(self, spin: Spin) -> None:
        """Publish a state, gather its commands, step."""
        if self.waiting:
            spin(0.05)
            self.waiting = not self.topics_connected(self.config.wait_for_topics)
            self.start_clock()
            return
        self.publish()
        if self.config.lockstep:
            self.await_answer(spin)
        else:
            self.await_time(spin)
        command = self.command[1] if self.command else None
        opening = self.grip[1] if self.grip else None
        self.quiet += 1 / self.robot.rate
        if self.quiet > COMMAND_TIMEOUT:
            command = self.command = None
        self.hold(None if command is not None else "no command: brakes on")
        self.world.step(command, opening)
        if self.world.is_over():
            self.next_episode()

    def await_time(self, spin: Spin) -> None:
        """Take commands until the tick is over; what is late by more is not caught up."""
        self.due += 1 / self.robot.rate
        while self.paused or (left := self.due - time.monotonic()) > 0:
            spin(0.1 if self.paused else left)
            if self.paused:
                self.due = time.monotonic() + 1 / self.robot.rate
        for _ in range(5):  # what has arrived meanwhile
            spin(0)
        if time.monotonic() - self.due > LATE:
            self.get_logger().warning("slower than real time: the machine is busy")
            self.due = time.monotonic()
            if self.config.wall_clock:
                behind = time.time_ns() - self.stamp
                self.origin += max(behind, 0)

    def await_answer(self, spin: Spin) -> None:
        """Wait for the commands that answer this state; ask again where one seems lost."""
        stamp, asked, began = self.stamp, time.monotonic(), time.monotonic()
        while not self.answered(stamp):
            spin(PATIENCE)
            if self.paused:
                asked = began = time.monotonic()
            if time.monotonic() - asked > PATIENCE:
                asked = time.monotonic()
                self.publish(again=True)
            if time.monotonic() - began > 20:
                began = time.monotonic()
                self.get_logger().warning("lockstep: no command yet; is everything running?")

    def answered(self, stamp: int) -> bool:
        """Say whether all commands that belong to a stamp are there."""
        arm = self.command is not None and self.command[0] == stamp
        grip = self.scene is None or (self.grip is not None and self.grip[0] == stamp)
        return arm and grip and not self.paused

    def publish(self, again: bool = False) -> None:
        """Publish joint states and clock, and with the camera's beat the true block poses.

        Publishing `again` what may have been lost includes the last block poses.
        """
        simulation, stamp = self.simulation, to_stamp(self.stamp)
        self.clock.publish(Clock(clock=stamp))
        if self.scene is not None:
            if self.world.camera_due:
                poses = [simulation.block_pose()]
                self.beat = poses_to_message(poses, stamp, self.robot.base_link)
            if self.world.camera_due or again:
                self.objects.publish(self.beat)
        _, q, qd, effort, opening = simulation.state()
        self.joints.publish(joints_to_message(self.robot, stamp, q, opening, qd, effort))

    def on_command(self, message: Float64MultiArray) -> None:
        """Take a command for the arm; a wrong one is refused and said."""
        values = np.array(message.data)
        if values.shape != (self.robot.n,) or not np.isfinite(values).all():
            self.get_logger().error(f"refused command {values}: {self.robot.n} finite numbers")
            return
        self.command, self.quiet = (command_stamp(message), values), 0.0

    def on_grip(self, message: Float64MultiArray) -> None:
        """Take a wanted opening of the gripper [m]."""
        if len(message.data) != 1 or not np.isfinite(message.data[0]):
            self.get_logger().error(f"refused gripper command {message.data}: one finite number")
            return
        self.grip = (command_stamp(message), float(message.data[0]))

    def on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start the next episode."""
        self.next_episode()
        response.success, response.message = True, f"episode {self.world.episode}"
        return response

    def on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Stop (true) or go on (false)."""
        self.paused = request.data
        response.success, response.message = True, "paused" if request.data else "running"
        return response


def main() -> None:
    """Run the node."""
    run(SimulatorNode)


if __name__ == "__main__":
    main()
