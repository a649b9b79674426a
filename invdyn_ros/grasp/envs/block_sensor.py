"""Simulated images of several blocks: detections by the noise model of the detector."""

from __future__ import annotations

from functools import partial

import numpy as np

from invdyn_ros.arms.domain_randomization import sample_latency
from invdyn_ros.grasp.envs.cameras import DETECTOR_STREAM, DelayBuffer
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.envs.simulated_detector import SimulatedDetector
from invdyn_ros.grasp.estimation.block_estimate import (
    ImageDetections,
    detection_in_stack,
    detection_on_table,
)
from invdyn_ros.grasp.policies.tasks import GRASP
from invdyn_ros.robots.scene import Scene, quaternion_pose


class BlockSensor:
    """Camera and block detector of the live graph, without rendering.

    Attributes:
        hidden: whether nothing is detected at present.
        duplicates: reason why a block has no pose, by its index, while it is doubled.
    """

    def __init__(self, simulation: GraspSimulation, nominal_scene: Scene) -> None:
        """Create the sensor of a simulation; detections use the nominal scene."""
        self.simulation, self.nominal_scene = simulation, nominal_scene
        self._delay: DelayBuffer[ImageDetections] = DelayBuffer()
        self.hidden = False
        self.duplicates: dict[int, str] = {}

    def reset(self) -> None:
        """Start the present episode of the simulation with its first image."""
        simulation = self.simulation
        noise, scene = simulation.noise, simulation.scene
        key = simulation.seed, simulation.episode
        self._delay.reset(sample_latency(noise, *key))
        self._rng = np.random.default_rng([*key, DETECTOR_STREAM])
        home = simulation.robot.forward_kinematics(simulation.robot.home)
        camera = scene.seen_from(home).camera
        self._detectors = [
            SimulatedDetector(camera, scene.block_size, noise.marker)
            for _ in range(scene.num_blocks)
        ]
        self.hidden, self.duplicates = False, {}
        self.capture()

    def capture(self) -> None:
        """Take an image."""
        physics, scene = self.simulation.physics, self.nominal_scene
        measured, true = physics.state().q, physics.true_state()[0]
        time, detections, blocks = physics.time, [], physics.blocks
        if blocks is None:
            raise ValueError("the simulation has no blocks")
        for block, detector in enumerate(self._detectors):
            if self.hidden or block in self.duplicates:
                continue
            if self.simulation.scene.camera_on_hand:
                T_tool = self.simulation.robot.forward_kinematics(true)
                detector.move_camera(self.simulation.scene.seen_from(T_tool).camera)
            pose = quaternion_pose(*physics.block_pose(block))
            occluded = partial(blocks.occluded, physics.body, block)
            detected = detector.detect(pose, self._rng, occluded)
            if detected is None:
                continue
            T_tool = self.simulation.robot.forward_kinematics(measured)
            camera, size = scene.seen_from(T_tool).camera.T_base_camera, scene.block_size
            if self.simulation.task == GRASP:
                detection = detection_on_table(time, *detected, camera, size / 2)
                detections.append(detection._replace(block=block))
            else:
                detections.append(detection_in_stack(time, *detected, camera, size, block))
        self._delay.put(time, ImageDetections(time, tuple(detections), dict(self.duplicates)))

    def new_images(self) -> list[ImageDetections]:
        """Return the images that became available since the last call."""
        return self._delay.pop_available(self.simulation.physics.time)
