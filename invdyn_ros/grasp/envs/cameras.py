"""What the camera of an episode tells, and when: a world enters; sightings or pictures leave.

A picture is taken on the camera's beat, and is known one latency later, as in the live graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.arms.domain_randomization import randomize_camera, sample_latency
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.grasp.envs.episode import GraspSimulation
from invdyn_ros.grasp.envs.simulated_detector import SimulatedDetector
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, detection_on_table
from invdyn_ros.grasp.estimation.block_pose_estimator import BlockPoseEstimator
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.robots.scene import Scene, quaternion_pose

ERRORS = 4  # stream of random numbers: the detector's errors
SLACK = 1e-9  # [s] of rounding

T = TypeVar("T")
RGBImage = NDArray[np.uint8]


class DelayBuffer(Generic[T]):
    """Keeps what is not known yet."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, latency: float) -> None:
        """Forget everything; from now on things take a latency [s]."""
        self.latency = latency
        self._waiting: deque[tuple[float, T]] = deque()

    def put(self, time: float, thing: T) -> None:
        """Take a thing of a time [s]."""
        self._waiting.append((time, thing))

    def due(self, time: float) -> list[T]:
        """Return what is known at a time [s] and was not before, the oldest first."""
        known = []
        while self._waiting and self._waiting[0][0] + self.latency <= time + SLACK:
            known.append(self._waiting.popleft()[1])
        return known


class CameraSensor(ABC):
    """The camera beside the arm of a world."""

    def __init__(self, world: GraspSimulation, scene: Scene) -> None:
        """Look at a world whose scene is described as `scene`."""
        self.world, self.scene = world, scene
        self._camera: SceneRenderer | None = None
        self._drawn: tuple[int, int] | None = None  # seed and episode that the renderer shows

    @property
    def episode_key(self) -> tuple[int, int]:
        """Seed and number of the present episode."""
        return self.world.seed, self.world.episode

    @abstractmethod
    def reset(self) -> None:
        """Begin the world's present episode with its first picture."""

    @abstractmethod
    def capture(self) -> None:
        """Take a picture."""

    @abstractmethod
    def new_detections(self) -> list[BlockDetection]:
        """Return the detections that are known by now and were not before."""

    def latest_image(self) -> RGBImage:
        """Return the newest picture that is known by now."""
        return self.render()

    def rendered_scene(self) -> Scene:
        """Return the scene that a photograph shows."""
        return self.world.scene

    def render(self) -> RGBImage:
        """Return what the camera sees now, (H, W, 3) uint8."""
        seed = self.world.seed * 100_003 + self.world.episode  # as in the live graph
        if self._camera is None:
            self._camera = SceneRenderer(self.world.robot, self.rendered_scene(), seed)
        elif self._drawn != self.episode_key:
            self._camera.set_scene(self.rendered_scene(), seed)
        self._drawn = self.episode_key
        simulation = self.world.physics
        q, _ = simulation.true_state()
        pose = quaternion_pose(*simulation.block_pose())
        return self._camera.render(q, simulation.state().opening, pose[None])

    def close(self) -> None:
        """Free the renderer."""
        if self._camera is not None:
            self._camera.close()


class SimulatedMarkerSensor(CameraSensor):
    """Sees the block's markers, through a model of camera and detector."""

    def __init__(self, world: GraspSimulation, scene: Scene) -> None:
        """Look at a world whose scene is described as `scene`."""
        super().__init__(world, scene)
        self._delay: DelayBuffer[BlockDetection] = DelayBuffer()

    def reset(self) -> None:
        """Begin the world's present episode with its first picture."""
        noise, scene, self._drawn = self.world.noise, self.world.scene, None
        self._delay.begin(sample_latency(noise, *self.episode_key))
        self._random = np.random.default_rng([*self.episode_key, ERRORS])
        self._detector = SimulatedDetector(scene.camera, scene.block_size, noise.marker)
        self.capture()

    def capture(self) -> None:
        """Take a picture."""
        simulation = self.world.physics
        truth = quaternion_pose(*simulation.block_pose())
        found = self._detector.detect(truth, self._random, simulation.occluded)
        if found is not None:
            camera, height = self.scene.camera.T_base_camera, self.scene.block_size / 2
            time = simulation.time
            self._delay.put(time, detection_on_table(time, *found, camera, height))

    def new_detections(self) -> list[BlockDetection]:
        """Return the detections that are known by now and were not before."""
        return self._delay.due(self.world.physics.time)


class RGBSensor(CameraSensor):
    """Sees pictures of a block without markers, through the renderer."""

    def __init__(self, world: GraspSimulation, scene: Scene, pixels: int) -> None:
        """Look at a world in pictures of `pixels` by `pixels`."""
        super().__init__(world, scene)
        self.pixels = pixels
        self.picture: RGBImage = np.zeros((pixels, pixels, 3), np.uint8)
        self._delay: DelayBuffer[RGBImage] = DelayBuffer()

    def rendered_scene(self) -> Scene:
        """Return the scene in the view of this camera."""
        return randomize_camera(self.world.scene, self.world.noise, *self.episode_key, self.pixels)

    def reset(self) -> None:
        """Begin the world's present episode; its first picture is known at once."""
        self._delay.begin(sample_latency(self.world.noise, *self.episode_key))
        self._drawn = None
        self.picture = self.render()

    def capture(self) -> None:
        """Take a picture."""
        self._delay.put(self.world.physics.time, self.render())

    def new_detections(self) -> list[BlockDetection]:
        """Return none: nothing looks for markers."""
        return []

    def latest_image(self) -> RGBImage:
        """Return the newest picture that is known by now."""
        for picture in self._delay.due(self.world.physics.time):
            self.picture = picture
        return self.picture.copy()


class BlockPoseSensor(CameraSensor):
    """Sees pictures of a block without markers, and tells where it lies by a network."""

    def __init__(self, world: GraspSimulation, scene: Scene, seer: BlockPoseEstimator) -> None:
        """Look at a world whose scene is described as `scene`."""
        super().__init__(world, scene)
        self.seer = seer
        self._delay: DelayBuffer[BlockDetection] = DelayBuffer()

    def rendered_scene(self) -> Scene:
        """Return the scene in the view of this camera."""
        return randomize_camera(
            self.world.scene, self.world.noise, *self.episode_key, self.seer.pixels
        )

    def reset(self) -> None:
        """Begin the world's present episode with its first picture."""
        self._delay.begin(sample_latency(self.world.noise, *self.episode_key))
        self._drawn = None
        self.capture()

    def capture(self) -> None:
        """Take a picture."""
        state, picture = self.world.physics.state(), self.render()
        seen = self.seer.estimate(state.time, picture, state.q, state.opening)
        if seen is not None:
            self._delay.put(state.time, seen)

    def new_detections(self) -> list[BlockDetection]:
        """Return the detections that are known by now and were not before."""
        return self._delay.due(self.world.physics.time)


def make_camera_sensor(
    world: GraspSimulation, scene: Scene, pixels: int = 0, sight: str = ""
) -> CameraSensor:
    """Return what looks at a world.

    Args:
        world: what there is to see.
        scene: as it is described.
        pixels: side of pictures that nobody looks for a block in [px]; 0: somebody does.
        sight: folder of the network that does; empty: the marker detector.

    Raises:
        ValueError: no network there, or one for another arm, or nobody wants to know.
    """
    if pixels and sight:
        raise ValueError("block_pose_model needs obs_mode='state'")
    if pixels:
        return RGBSensor(world, scene, pixels)
    if sight:
        return BlockPoseSensor(
            world,
            scene,
            BlockPoseEstimator(world.robot, scene, load_block_pose_net(sight, world.robot.name)),
        )
    return SimulatedMarkerSensor(world, scene)
