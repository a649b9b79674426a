"""How fast simulated arm and camera are: an arm enters, rates beside raw PyBullet's leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
from pydantic import PositiveFloat

from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.config import Validated
from invdyn_ros.robots.registry import load_plant, load_scene
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene, block_pose

ARM, TABLE, CAMERA = "simulation", "simulation with table and block", "camera"
RAW_STEP, RAW_PICTURE = "raw stepSimulation", "raw getCameraImage"
STEPS = "physics steps/s"
TURN = 0.25  # [s] of one before the other has its turn


@dataclass(frozen=True)
class SimulationBenchmarkConfig(Validated):
    """Physics steps and pictures per second, beside raw PyBullet with the same URDF."""

    arm: str = "ur5"
    """Name of the arm."""
    seconds: PositiveFloat = 8.0
    """Time to measure, all in all [s]."""
    report: Path | None = None
    """JSON file to write."""


def measure_simulation(config: SimulationBenchmarkConfig) -> dict[str, Any]:
    """Return the report on one arm: physics alone, physics with table and block, camera."""
    robot = load_robot(config.arm)
    scene = load_scene(config.arm)
    about, plant = machine_info(1), load_plant(config.arm)
    with (
        Simulation(robot, plant) as arm,
        Simulation(robot, plant, scene=scene) as table,
        SceneRenderer(robot, scene) as camera,
        closing(RawBullet(robot, plant.physics_rate)) as raw,
    ):
        steps = {ARM: _stepper(arm), TABLE: _stepper(table), RAW_STEP: (raw.step, 1)}
        shots = {
            CAMERA: (_shutter(camera, robot, scene), 1),
            RAW_PICTURE: (lambda: raw.picture(scene), 1),
        }
        physics, pictures = (rates_in_turn(x, config.seconds / 2) for x in (steps, shots))
    size = f"{scene.camera.width}x{scene.camera.height} pictures/s"
    rows = {name: {STEPS: rate} for name, rate in physics.items()}
    rows |= {name: {size: rate} for name, rate in pictures.items()}
    ratio = {name: ratios(rows[name], rows[RAW_STEP], (STEPS,)) for name in (ARM, TABLE)}
    ratio[CAMERA] = ratios(rows[CAMERA], rows[RAW_PICTURE], (size,))
    return benchmark_report(
        "simulation",
        unit="1/s",
        machine=about,
        settings={"arm": config.arm, "seconds": config.seconds, "rate_hz": robot.rate},
        rows=rows,
        ratio=ratio,
    )


class RawBullet:
    """The same URDF in PyBullet, and nothing else: the peer."""

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
        """Do one physics step."""
        self.client.stepSimulation()

    def picture(self, scene: Scene) -> None:
        """Draw the arm as the scene's camera sees it, with the same renderer and options."""
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
        """Free the world."""
        self.client.disconnect()


def rates_in_turn(calls: dict[str, tuple[Callable[[], object], int]], seconds: float) -> Row:
    """Return how often each call's events happen per second, measured in alternating turns.

    Args:
        calls: name -> call and how many events it stands for.
        seconds: time for all of them.
    """
    done, taken = dict.fromkeys(calls, 0), dict.fromkeys(calls, 0.0)
    for call, _ in calls.values():
        call()  # the first call allocates
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, (call, events) in calls.items():
            begun = now = time.perf_counter()
            while now - begun < min(TURN, seconds / len(calls)):
                call()
                done[name] += events
                now = time.perf_counter()
            taken[name] += now - begun
    return {name: round(done[name] / taken[name], 1) for name in calls}


def _stepper(simulation: Simulation) -> tuple[Callable[[], object], int]:
    """One control tick that holds the arm where it starts, and its number of physics steps."""
    robot, zero = simulation.robot, np.zeros(simulation.robot.n)
    hold = robot.home
    if simulation.unit == "N m":
        hold = robot.inverse_dynamics(robot.home, zero, zero)
    opening = robot.gripper.max_opening if robot.gripper else None
    return lambda: simulation.step(hold, opening), simulation.substeps


def _shutter(camera: SceneRenderer, robot: Robot, scene: Scene) -> Callable[[], object]:
    """One picture of the arm at home with its blocks."""
    x, y = np.mean(scene.area_x), np.mean(scene.area_y)
    pose = block_pose(float(x), float(y), scene.block_size / 2, 0.4)
    poses = np.array([pose] * scene.blocks).reshape(-1, 4, 4)
    opening = robot.gripper.max_opening if robot.gripper else 0.0
    return lambda: camera.render(robot.home, opening, poses)
