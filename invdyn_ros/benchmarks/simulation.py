"""Benchmark of the simulated arm and camera: rates beside those of plain PyBullet."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybullet
from pydantic import PositiveFloat

from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.robots.registry import load_plant, load_scene
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene, block_pose

ARM, TABLE, CAMERA = "simulation", "simulation with table and block", "camera"
RAW_STEP, RAW_IMAGE = "raw stepSimulation", "raw getCameraImage"
STEP_RATE = "physics steps/s"
TURN_SECONDS = 0.25  # [s] for which one candidate is measured before the next


@dataclass(frozen=True)
class SimulationBenchmarkConfig(BenchmarkOptions):
    """Physics steps and images per second, beside plain PyBullet with the same URDF."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    seconds: PositiveFloat = 8.0
    """Total measuring time [s]."""


def measure_simulation(config: SimulationBenchmarkConfig) -> dict[str, Any]:
    """Return the report on an arm: physics alone, physics with table and block, camera."""
    robot = load_robot(config.arm)
    scene = load_scene(config.arm)
    machine, plant = machine_info(1), load_plant(config.arm)
    with (
        Simulation(robot, plant) as arm,
        Simulation(robot, plant, scene=scene) as table,
        SceneRenderer(robot, scene) as camera,
        closing(RawBullet(robot, plant.physics_rate)) as raw,
    ):
        steps = {ARM: _step_call(arm), TABLE: _step_call(table), RAW_STEP: (raw.step, 1)}
        renders = {
            CAMERA: (_render_call(camera, robot, scene), 1),
            RAW_IMAGE: (lambda: raw.render(scene), 1),
        }
        physics, images = (rates_in_turn(x, config.seconds / 2) for x in (steps, renders))
    image_rate = f"{scene.camera.width}x{scene.camera.height} images/s"
    rows = {name: {STEP_RATE: rate} for name, rate in physics.items()}
    rows |= {name: {image_rate: rate} for name, rate in images.items()}
    ratio = {name: ratios(rows[name], rows[RAW_STEP], (STEP_RATE,)) for name in (ARM, TABLE)}
    ratio[CAMERA] = ratios(rows[CAMERA], rows[RAW_IMAGE], (image_rate,))
    return benchmark_report(
        "simulation",
        unit="1/s",
        machine=machine,
        settings={"arm": config.arm, "seconds": config.seconds, "rate_hz": robot.rate},
        rows=rows,
        ratio=ratio,
    )


class RawBullet:
    """Plain PyBullet with the same URDF."""

    def __init__(self, robot: Robot, physics_rate: float) -> None:
        self.client = connect()
        self.client.setGravity(0, 0, -9.81)
        self.client.setTimeStep(1 / physics_rate)
        body = self.client.loadURDF(
            str(robot.urdf), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
        )
        names = [
            self.client.getJointInfo(body, j)[1].decode()
            for j in range(self.client.getNumJoints(body))
        ]
        for name, position in zip(robot.joint_names, robot.home, strict=True):
            self.client.resetJointState(body, names.index(name), position)

    def step(self) -> None:
        """Advance by one physics step."""
        self.client.stepSimulation()

    def render(self, scene: Scene) -> None:
        """Render the camera image with the same renderer and options as `SceneRenderer`."""
        self.client.getCameraImage(
            scene.camera.width,
            scene.camera.height,
            scene.camera.view_matrix(),
            scene.camera.projection_matrix(),
            shadow=0,
            flags=self.client.ER_NO_SEGMENTATION_MASK,
            renderer=self.client.ER_TINY_RENDERER,
        )

    def close(self) -> None:
        """Disconnect from PyBullet."""
        self.client.disconnect()


def rates_in_turn(calls: dict[str, tuple[Callable[[], object], int]], seconds: float) -> Row:
    """Return the events per second of each call, measured in alternating turns.

    Turns make the load of the machine the same for all calls.

    Args:
        calls: name -> call and number of events that it performs.
        seconds: total measuring time [s].
    """
    events_done, time_spent = dict.fromkeys(calls, 0), dict.fromkeys(calls, 0.0)
    for call, _ in calls.values():
        call()  # the first call allocates
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, (call, events) in calls.items():
            start = now = time.perf_counter()
            while now - start < min(TURN_SECONDS, seconds / len(calls)):
                call()
                events_done[name] += events
                now = time.perf_counter()
            time_spent[name] += now - start
    return {name: round(events_done[name] / time_spent[name], 1) for name in calls}


def _step_call(simulation: Simulation) -> tuple[Callable[[], object], int]:
    """Return a control tick that holds the arm at home, and its number of physics steps."""
    robot, zero = simulation.robot, np.zeros(simulation.robot.n)
    hold = robot.home
    if simulation.unit == "N m":
        hold = robot.inverse_dynamics(robot.home, zero, zero)
    opening = robot.gripper.max_opening if robot.gripper else None
    return lambda: simulation.step(hold, opening), simulation.substeps


def _render_call(camera: SceneRenderer, robot: Robot, scene: Scene) -> Callable[[], object]:
    """Return a call that renders the arm at home with its blocks."""
    x, y = np.mean(scene.area_x), np.mean(scene.area_y)
    pose = block_pose(float(x), float(y), scene.block_size / 2, 0.4)
    poses = np.array([pose] * scene.num_blocks).reshape(-1, 4, 4)
    opening = robot.gripper.max_opening if robot.gripper else 0.0
    return lambda: camera.render(robot.home, opening, poses)
