"""Rollouts of the policies of the live graph, with several blocks and disturbances.

Policy, arm controller, gripper and noise are those of the nodes in lockstep; only the images are
not rendered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.grasp.envs.block_sensor import BlockSensor
from invdyn_ros.grasp.envs.disturbances import BlockDisturbance
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.policies.learned import load_learned_grasp
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp
from invdyn_ros.grasp.policies.scripted_task import ScriptedTask, pass_image
from invdyn_ros.grasp.policies.tasks import GRASP, SECONDS_PER_BLOCK
from invdyn_ros.models.nominal_checkpoint import simulation_checkpoint
from invdyn_ros.robots.registry import load_grasp_spec, load_scene
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene

if TYPE_CHECKING:
    from invdyn_ros.grasp.policies.learned import LearnedGrasp

SCRIPTED = "scripted"
DISTURBED_SECONDS = 40.0  # time limit of an episode with one [s]


@dataclass(frozen=True)
class TaskJob:
    """Episodes of a task to run.

    Attributes:
        arm: name of the arm.
        task: grasp, sort or stack.
        blocks: blocks file; empty: the block of the arm's entry.
        num_blocks: number of blocks of the file that are used; 0: all.
        policy: scripted, or a folder of a learned policy or planner (task grasp only).
        noise: domain randomization level.
        seed: seed of the run.
        episodes: indices of the episodes in the run.
        disturbance: kind of disturbance; empty: none.
    """

    arm: str
    task: str
    blocks: str
    num_blocks: int
    policy: str
    noise: str
    seed: int
    episodes: tuple[int, ...]
    disturbance: str = ""

    def scene(self) -> Scene:
        """Return the nominal scene of the job."""
        scene = load_scene(self.arm, self.blocks)
        if not self.num_blocks:
            return scene
        used = scene.all_blocks[: self.num_blocks]
        return replace(scene, num_blocks=len(used), blocks=used)


class TaskResult(NamedTuple):
    """Outcome of an episode.

    Attributes:
        episode: index in the run.
        success: every block was released at its goal.
        seconds: simulated time until then; the whole episode without a success [s].
        reason: what the policy reported last, in words; "" for a success.
        was_disturbed: whether the disturbance took place before the end.
        wall_time: time that the simulation took [s].
    """

    episode: int
    success: bool
    seconds: float
    reason: str
    was_disturbed: bool
    wall_time: float


def make_policy(
    robot: Robot, scene: Scene, task: str, policy: str
) -> ScriptedGrasp | LearnedGrasp | ScriptedTask:
    """Return a policy as the grasp node creates it.

    Args:
        robot: the arm.
        scene: nominal scene.
        task: grasp, sort or stack.
        policy: scripted, or a folder of a learned policy or planner.

    Raises:
        ValueError: a task that the policy cannot do, or no such policy.
    """
    if task != GRASP:
        if policy != SCRIPTED:
            raise ValueError(f"task {task} needs the scripted policy, not {policy}")
        return ScriptedTask(robot, scene, task)
    if policy == SCRIPTED:
        return ScriptedGrasp(robot, scene)
    return load_learned_grasp(robot, scene, policy)


def run_tasks(job: TaskJob) -> Iterator[TaskResult]:
    """Run the episodes of a job one after the other in this process."""
    robot, scene = load_robot(job.arm), job.scene()
    policy = make_policy(robot, scene, job.task, job.policy)
    controller = load_controller(robot, str(simulation_checkpoint(robot))).controller
    seconds = SECONDS_PER_BLOCK * max(scene.num_blocks, 1)
    simulation = GraspSimulation(
        robot,
        load_randomization(job.noise),
        scene,
        controller.unit,
        max_episode_seconds=DISTURBED_SECONDS if job.disturbance else seconds,
        physics_rate=load_grasp_spec(job.arm).physics_rate,
        task=job.task,
    )
    with closing(simulation):
        sensor = BlockSensor(simulation, scene)
        simulation.start_run(job.seed)
        for episode in job.episodes:
            simulation.episode = episode - 1
            simulation.next_episode()
            disturbance = None
            if job.disturbance:
                disturbance = BlockDisturbance(job.disturbance, simulation, sensor)
            yield run_episode(simulation, sensor, policy, controller, disturbance)


def run_episode(
    simulation: GraspSimulation,
    sensor: BlockSensor,
    policy: ScriptedGrasp | LearnedGrasp | ScriptedTask,
    controller: ArmController,
    disturbance: BlockDisturbance | None = None,
    on_image: Callable[[], None] | None = None,
) -> TaskResult:
    """Run one episode, which the simulation has begun.

    Args:
        simulation: arm and blocks.
        sensor: camera of the simulation.
        policy: the policy.
        controller: controller of the arm.
        disturbance: what happens to the blocks; None: nothing.
        on_image: called at each image, such as to draw one.
    """
    started, physics, period = time.perf_counter(), simulation.physics, 1 / simulation.robot.rate
    controller.reset()
    controller.engage(True)
    policy.reset()
    sensor.reset()
    reason: str | None = None
    while not simulation.is_over():
        sample = physics.state()
        for image in sensor.new_images():
            pass_image(policy, image, sensor.nominal_scene.target)
        policy.update_joints(sample.q, sample.qd)
        command = policy.command(sample.time, sample.opening, period)
        reason = command.hold_reason
        horizon = command.horizon or period
        controller.set_target(Target(sample.time, command.state, horizon))
        output = controller.update(MeasuredState(sample.time, sample.q, sample.qd))
        opening = command.opening
        if disturbance is not None:
            opening = disturbance.apply(opening)
        simulation.step(output.action, opening)
        if simulation.camera_due:
            sensor.capture()
            if on_image is not None:
                on_image()
    success = simulation.is_placed
    words = "" if success else reason or controller.fault or "the time limit was reached"
    return TaskResult(
        simulation.episode,
        success,
        physics.time,
        str(words),
        disturbance is not None and disturbance.has_begun,
        time.perf_counter() - started,
    )
