"""Camera sensors of the grasp environment: delayed block detections or RGB images.

An image is taken at the camera's frame rate and is available after the latency of the episode, as
in the live graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.arms.domain_randomization import randomize_camera, sample_latency
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.envs.simulated_detector import SimulatedDetector
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, detection_on_table
from invdyn_ros.grasp.estimation.block_pose_estimator import BlockPoseEstimator
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.robots.scene import Scene, quaternion_pose

DETECTOR_STREAM = 4  # stream of random numbers for the detector's errors
TIME_TOLERANCE = 1e-9  # [s] rounding

T = TypeVar("T")
RGBImage = NDArray[np.uint8]


class DelayBuffer(Generic[T]):
    """Queue that releases each item after a fixed latency."""

    def __init__(self) -> None:
        self.reset(0.0)

    def reset(self, latency: float) -> None:
        """Clear the queue and set the latency [s]."""
        self.latency = latency
        self._items: deque[tuple[float, T]] = deque()

    def put(self, time: float, item: T) -> None:
        """Add an item of a time [s]."""
        self._items.append((time, item))

    def pop_available(self, time: float) -> list[T]:
        """Remove and return the items that are available at a time [s], the oldest first."""
        available = []
        while self._items and self._items[0][0] + self.latency <= time + TIME_TOLERANCE:
            available.append(self._items.popleft()[1])
        return available


class CameraSensor(ABC):
    """Camera beside the simulated arm."""

    def __init__(self, simulation: GraspSimulation, nominal_scene: Scene) -> None:
        """Create the camera of a simulation; the policy uses the nominal scene."""
        self.simulation, self.nominal_scene = simulation, nominal_scene
        self._renderer: SceneRenderer | None = None
        self._rendered_episode: tuple[int, int] | None = None

    @property
    def episode_key(self) -> tuple[int, int]:
        """Seed and index of the present episode."""
        return self.simulation.seed, self.simulation.episode

    @abstractmethod
    def reset(self) -> None:
        """Start the present episode of the simulation with its first image."""

    @abstractmethod
    def capture(self) -> None:
        """Take an image."""

    @abstractmethod
    def new_detections(self) -> list[BlockDetection]:
        """Return the detections that became available since the last call."""

    def latest_image(self) -> RGBImage:
        """Return the latest available image (H, W, 3) uint8."""
        return self.render()

    def rendered_scene(self) -> Scene:
        """Return the scene as seen by this camera."""
        return self.simulation.scene

    def render(self) -> RGBImage:
        """Render the present state (H, W, 3) uint8."""
        simulation = self.simulation
        seed = simulation.seed * 100_003 + simulation.episode  # as in the live graph
        if self._renderer is None:
            self._renderer = SceneRenderer(simulation.robot, self.rendered_scene(), seed)
        elif self._rendered_episode != self.episode_key:
            self._renderer.set_scene(self.rendered_scene(), seed)
        self._rendered_episode = self.episode_key
        q, _ = simulation.physics.true_state()
        pose = quaternion_pose(*simulation.physics.block_pose())
        return self._renderer.render(q, simulation.physics.state().opening, pose[None])

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()


class SimulatedMarkerSensor(CameraSensor):
    """Detections of the block's markers by a noise model, without rendering."""

    def __init__(self, simulation: GraspSimulation, nominal_scene: Scene) -> None:
        """Create the camera of a simulation; the policy uses the nominal scene."""
        super().__init__(simulation, nominal_scene)
        self._delay: DelayBuffer[BlockDetection] = DelayBuffer()

    def reset(self) -> None:
        """Start the present episode of the simulation with its first image."""
        noise, scene = self.simulation.noise, self.simulation.scene
        self._rendered_episode = None
        self._delay.reset(sample_latency(noise, *self.episode_key))
        self._rng = np.random.default_rng([*self.episode_key, DETECTOR_STREAM])
        self._detector = SimulatedDetector(scene.camera, scene.block_size, noise.marker)
        self.capture()

    def capture(self) -> None:
        """Take an image."""
        physics = self.simulation.physics
        true_pose = quaternion_pose(*physics.block_pose())
        detection = self._detector.detect(true_pose, self._rng, physics.occluded)
        if detection is not None:
            camera, height = self.nominal_scene.camera, self.nominal_scene.block_size / 2
            time = physics.time
            self._delay.put(
                time, detection_on_table(time, *detection, camera.T_base_camera, height)
            )

    def new_detections(self) -> list[BlockDetection]:
        """Return the detections that became available since the last call."""
        return self._delay.pop_available(self.simulation.physics.time)


class RGBSensor(CameraSensor):
    """Rendered images of a block without markers."""

    def __init__(self, simulation: GraspSimulation, nominal_scene: Scene, image_size: int) -> None:
        """Create the camera of a simulation.

        Args:
            simulation: the simulated arm and block.
            nominal_scene: scene without randomization, as known to the policy.
            image_size: side of the images [px].
        """
        super().__init__(simulation, nominal_scene)
        self.image_size = image_size
        self.image: RGBImage = np.zeros((image_size, image_size, 3), np.uint8)
        self._delay: DelayBuffer[RGBImage] = DelayBuffer()

    def rendered_scene(self) -> Scene:
        """Return the scene as seen by this camera."""
        scene, noise = self.simulation.scene, self.simulation.noise
        return randomize_camera(scene, noise, *self.episode_key, self.image_size)

    def reset(self) -> None:
        """Start the present episode; its first image is available at once."""
        self._delay.reset(sample_latency(self.simulation.noise, *self.episode_key))
        self._rendered_episode = None
        self.image = self.render()

    def capture(self) -> None:
        """Take an image."""
        self._delay.put(self.simulation.physics.time, self.render())

    def new_detections(self) -> list[BlockDetection]:
        """Return an empty list: the images are not processed."""
        return []

    def latest_image(self) -> RGBImage:
        """Return the latest available image (H, W, 3) uint8."""
        for image in self._delay.pop_available(self.simulation.physics.time):
            self.image = image
        return self.image.copy()


class BlockPoseSensor(CameraSensor):
    """Detections of a block without markers by a network on rendered images."""

    def __init__(
        self, simulation: GraspSimulation, nominal_scene: Scene, estimator: BlockPoseEstimator
    ) -> None:
        """Create the camera of a simulation.

        Args:
            simulation: the simulated arm and block.
            nominal_scene: scene as known to the policy.
            estimator: detects the block in an image.
        """
        super().__init__(simulation, nominal_scene)
        self.estimator = estimator
        self._delay: DelayBuffer[BlockDetection] = DelayBuffer()

    def rendered_scene(self) -> Scene:
        """Return the scene as seen by this camera."""
        scene, noise = self.simulation.scene, self.simulation.noise
        return randomize_camera(scene, noise, *self.episode_key, self.estimator.pixels)

    def reset(self) -> None:
        """Start the present episode of the simulation with its first image."""
        self._delay.reset(sample_latency(self.simulation.noise, *self.episode_key))
        self._rendered_episode = None
        self.capture()

    def capture(self) -> None:
        """Take an image and detect the block."""
        state, image = self.simulation.physics.state(), self.render()
        detection = self.estimator.estimate(state.time, image, state.q, state.opening)
        if detection is not None:
            self._delay.put(state.time, detection)

    def new_detections(self) -> list[BlockDetection]:
        """Return the detections that became available since the last call."""
        return self._delay.pop_available(self.simulation.physics.time)


def make_camera_sensor(
    simulation: GraspSimulation,
    nominal_scene: Scene,
    image_size: int = 0,
    block_pose_model: str = "",
) -> CameraSensor:
    """Return the camera sensor of a simulation.

    Args:
        simulation: the simulated arm and block.
        nominal_scene: scene as known to the policy.
        image_size: side of the images of a pixel policy [px]; 0: the policy uses detections.
        block_pose_model: folder of a network that detects the block; empty: marker detections.

    Raises:
        ValueError: no such network, one for another arm, or a network for a pixel policy.
    """
    if image_size and block_pose_model:
        raise ValueError("block_pose_model needs obs_mode='state'")
    if image_size:
        return RGBSensor(simulation, nominal_scene, image_size)
    if block_pose_model:
        robot = simulation.robot
        network = load_block_pose_net(block_pose_model, robot.name)
        estimator = BlockPoseEstimator(robot, nominal_scene, network)
        return BlockPoseSensor(simulation, nominal_scene, estimator)
    return SimulatedMarkerSensor(simulation, nominal_scene)
