"""Gymnasium environments of the grasp: actions enter, observations and rewards leave.

World, gripper, noise, guard, inverse-dynamics model and success are those of the live graph: the
same classes run in its nodes. `import invdyn_ros.grasp.envs.registration` makes their names known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from invdyn_ros.arms.domain_randomization import (
    RANDOMIZATION_LEVELS,
    DomainRandomization,
    load_randomization,
)
from invdyn_ros.config import Validated
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.safety_limits import Target
from invdyn_ros.grasp.envs.cameras import make_camera_sensor
from invdyn_ros.grasp.envs.episode import MAX_EPISODE_SECONDS, GraspSimulation
from invdyn_ros.grasp.envs.reward import RewardConfig, ShapedReward
from invdyn_ros.grasp.estimation.block_estimate import relative_yaw, upright_yaw
from invdyn_ros.grasp.policies.action_space import (
    ActionSpaceConfig,
    PlanarTwist,
    make_action_space,
)
from invdyn_ros.grasp.policies.observation import OBSERVATION_LIMIT, ObservationBuilder
from invdyn_ros.grasp.policies.success import PrivilegedState, SuccessDetector
from invdyn_ros.grasp.policies.visual_servo import VisualServoConfig, visual_servo
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.registry import load_grasp_spec, load_scene
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.robots.scene import quaternion_pose

SEEDS = 2**31


@dataclass(frozen=True)
class GraspEnvConfig(Validated):
    """What an environment is made of.

    Attributes:
        arm: its name; it needs a gripper and a scene.
        observation: state (the block as the marker detector, or `sight`, gives it) or pixels.
        control: joint or cartesian.
        noise: none, default or hard, or each term by itself.
        steering: how far one action goes, and how often there is one.
        reward: what each stage is worth.
        limit: longest time of an episode [s].
        physics_rate: integration steps per second [Hz]; None: the fewest with which the arm moves
            and grips as with the simulator node's 1000.
        checkpoint: folder or .onnx file of the model that drives the arm; empty: the shipped one.
        pixels: side of the pictures [px].
        sight: folder of a network that sees the block for the state; empty: markers tell it.
    """

    arm: str = "ur5"
    obs_mode: Literal["state", "pixels"] = "state"
    control_mode: Literal["joint", "cartesian"] = "joint"
    noise: str | DomainRandomization = "default"
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    max_episode_seconds: PositiveFloat = MAX_EPISODE_SECONDS
    physics_rate: float | None = None
    checkpoint: str = ""
    image_size: Annotated[int, Field(ge=16)] = 64
    block_pose_model: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        if isinstance(self.noise, str):
            load_randomization(self.noise)
        load_grasp_spec(self.arm)  # refuses an arm that has no block to grasp

    @property
    def noise_terms(self) -> DomainRandomization:
        """The noise, term by term."""
        return RANDOMIZATION_LEVELS[self.noise] if isinstance(self.noise, str) else self.noise


class GraspEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """An arm finds a block, lifts it and puts it at its goal.

    With n joints (UR5: 6, DofBot: 5), one action every 40 ms; the block begins at any yaw, anywhere
    in 20 x 20 cm (UR5) or 7 x 16 cm (DofBot).

    **Action**, `control_mode="joint"`: (n + 1,) in [-1, 1].

    | entries | meaning | one is |
    |---|---|---|
    | n | joint velocity at the end of the period, reached at constant acceleration | 0.6 of the rated velocity (`action_space.joint_speed_fraction`) [rad/s] |
    | 1 | opening of the gripper: -1 closed, 1 open | half of its greatest opening [m] |

    **Action**, `control_mode="cartesian"`: (5,) in [-1, 1], in the frame of the base.

    | entries | meaning | one is |
    |---|---|---|
    | 3 | velocity of the tool along x, y, z | 0.3 m/s (`action_space.linear_speed`) |
    | 1 | turn of the tool about z; it is kept pointing down | 1.5 rad/s (`action_space.angular_speed`) |
    | 1 | opening of the gripper, as above | |

    Either becomes a wanted next state (position and velocity of all joints) which the guard checks
    and the inverse-dynamics model turns into commands at the arm's own rate.

    **Observation**, `obs_mode="state"`: (3 n + a + 20,) float32 for actions of size a, all in
    [-10, 10], and all of it known to the live graph.

    | entries | meaning | unit | range |
    |---|---|---|---|
    | n | measured joint positions | rad | limits of the joints |
    | n | measured joint velocities; from positions where the arm measures none | rad/s | rated velocities, and noise |
    | n | wanted less measured joint positions | 0.1 rad | -2 to 2 |
    | a | previous action | 1 | -1 to 1 |
    | 1 | measured opening of the gripper | greatest opening | 0 to 1 |
    | 3 | tool centre point in the base frame, from the measured joints | 0.1 m | reach of the arm |
    | 3 | direction of approach | 1 | -1 to 1 |
    | 3 | from the tool to the goal | 0.1 m | reach of the arm |
    | 3 | from the tool to the block, as empty grips correct it; zero before it is seen | 0.1 m | reach of the arm |
    | 3 | from the block to the goal, zero before it is seen | 0.1 m | reach of the arm |
    | 2 | cosine, sine of four times the yaw from fingers to block, zero before it is seen | 1 | -1 to 1 |
    | 1 | in sight (1 if seen in the last 0.25 s, else 0) less the age of the last sighting | 2 s | -1 to 1 |
    | 1 | sightings since the block moved | 10 | 0 to 1 |

    **Observation**, `obs_mode="pixels"`: a dictionary of `pixels` (64, 64, 3) uint8, red, green,
    blue, 0 to 255, a block without markers, and `state` (3 n + a + 10,), the table above up to the
    goal. Pictures come at 10 Hz, late by the episode's latency.

    **Reward**: `grasp.reward`. **End**: half a second after the block was placed; truncated after
    `limit`. **Success**, as in every report: lifted 40 mm or placed within 25 mm of the goal, and
    the arm still (`grasp.task`): `info["is_success"]`.

    `reset(seed=s)` begins the same run as `seed:=s` does in the graph, episode 0; each further
    reset is the next episode of that run. `reset(options={"episode": k})` goes to another.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 (gymnasium's)

    def __init__(
        self, config: GraspEnvConfig | None = None, render_mode: str | None = None, **changes: Any
    ) -> None:
        """Make an environment.

        Args:
            config: what it is made of; or
            changes: its fields by name.
            render_mode: rgb_array draws what the camera sees; None draws nothing.
        """
        self.config = config = config or GraspEnvConfig(**changes)
        self.render_mode = render_mode
        self.robot, self.scene = load_robot(config.arm), load_scene(config.arm)
        self.robot_action_space = make_action_space(
            config.control_mode, self.robot, config.action_space
        )
        path = config.checkpoint or package_file(f"config/checkpoints/{config.arm}")
        model = load_runtime(path, "cpu", self.robot)
        unit, fallback = model.meta.action_unit, fallback_from_metadata(model.meta)
        self.controller = ArmController(
            self.robot, model, unit, model.meta.action_delay, fallback=fallback
        )
        self.simulation = GraspSimulation(
            self.robot,
            config.noise_terms,
            self.scene,
            unit,
            max_episode_seconds=config.max_episode_seconds,
            physics_rate=config.physics_rate or load_grasp_spec(config.arm).physics_rate,
        )
        self.observation_builder = ObservationBuilder(
            self.robot, self.scene, self.robot_action_space.size
        )
        self.pixels = config.obs_mode == "pixels"
        self.camera = make_camera_sensor(
            self.simulation, self.scene, self.pixels * config.image_size, config.block_pose_model
        )
        self.action_space = spaces.Box(-1.0, 1.0, (self.robot_action_space.size,), np.float32)
        self.observation_space = self._space()
        self._seeded = self._closed = False

    def _space(self) -> spaces.Space[Any]:
        size = (
            self.observation_builder.proprioception_size
            if self.pixels
            else self.observation_builder.size
        )
        vector = spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (size,), np.float32)
        if not self.pixels:
            return vector
        side = self.config.image_size
        picture = spaces.Box(0, 255, (side, side, 3), np.uint8)
        return spaces.Dict({"pixels": picture, "state": vector})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode, or with a seed the first of a run; see the class.

        Raises:
            ValueError: unknown options.
        """
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self.simulation.start_run(
                int(self.np_random.integers(SEEDS)) if seed is None else seed
            )
            self._seeded = True
        episode = dict(options or {})
        if "episode" in episode:
            self.simulation.episode = int(episode.pop("episode")) - 1
        if episode:
            raise ValueError(f"unknown options {sorted(episode)}; known: ['episode']")
        self.simulation.next_episode()
        self.controller.engage(True)
        self.observation_builder.reset()
        self.robot_action_space.reset(self.simulation.physics.state().q)
        self.camera.reset()
        self.hold_reason: str | None = None
        self.reward = ShapedReward(
            self.config.reward, self.success_detector, self.privileged_state()
        )
        return self._observe(), self._info()

    def set_difficulty(self, area: float, noise: float) -> None:
        """Make the next episodes easier, as a curriculum does; see `World.ease`."""
        self.simulation.set_difficulty(area, noise)

    @property
    def success_detector(self) -> SuccessDetector:
        """What decides over the success of the present episode."""
        if self.simulation.success_detector is None:
            raise RuntimeError("there is no episode before the first reset")
        return self.simulation.success_detector

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one period; see the class."""
        simulation = self.simulation.physics
        before = simulation.state()
        step = self.robot_action_space(np.asarray(action, float), before.q)
        period = self.config.action_space.action_period
        self.controller.set_target(Target(before.time, step.state, period))
        over = False
        for _ in range(self.robot_action_space.ticks_per_action):
            sample = simulation.state()
            command = self.controller.update(MeasuredState(sample.time, sample.q, sample.qd))
            self.hold_reason = command.reason
            self.simulation.step(command.action, step.opening)
            if self.simulation.camera_due:
                self.camera.capture()
                over = self.simulation.is_over()
                if over:
                    break
        self.observation_builder.previous_action = np.clip(np.asarray(action, float), -1, 1)
        reward = self.reward(
            self.privileged_state(),
            self.success_detector,
            self.observation_builder.previous_action,
        )
        placed = over and self.simulation.is_completed
        return self._observe(), reward, placed, over and not placed, self._info()

    def privileged_state(self) -> PrivilegedState:
        """Return the true state, which only the reward looks at."""
        simulation = self.simulation.physics
        q, _ = simulation.true_state()
        tool, block = self.robot.forward_kinematics(q), quaternion_pose(*simulation.block_pose())
        turn = relative_yaw(tool, upright_yaw(block[:3, :3]))
        opening = simulation.state().opening
        return PrivilegedState(tool, block[:3, 3], turn, simulation.is_grasping(), opening)

    def expert_action(self, expert: str = "privileged") -> NDArray[np.float32]:
        """Return what a teacher would do now.

        Args:
            expert: `privileged` acts on the true state, `detections` on what a policy observes.
        """
        seen = (
            self.privileged_state()
            if expert == "privileged"
            else self.observation_builder.estimated_state()
        )
        motion = PlanarTwist(np.zeros(3), 0.0, close_gripper=False)
        if seen is not None:
            motion = visual_servo(
                seen, self.success_detector.goal, self.scene.block_size, VisualServoConfig()
            )
        return self.robot_action_space.twist_to_action(motion).astype(np.float32)

    def _observe(self) -> Any:
        _, q, qd, _, opening = self.simulation.physics.state()
        time = self.simulation.physics.time
        self._new = self.camera.new_detections()
        for sighting in self._new:
            self.observation_builder.on_detection(sighting)
        joints = self.observation_builder.proprioception(
            time, q, qd, opening, self.robot_action_space.target
        )
        if self.pixels:
            return {"pixels": self.camera.latest_image(), "state": joints}
        return np.concatenate([joints, self.observation_builder.block_features(time)])

    def _info(self) -> dict[str, Any]:
        """Return what a script may know, and how the episode stands."""
        state = self.simulation.physics.state()
        return {
            "time": state.time,
            "opening": state.opening,
            "detections": self._new,
            "episode_number": self.simulation.episode,
            "is_success": self.success_detector.success,
            "lifted": self.success_detector.lifted,
            "placed": self.success_detector.placed,
            "hold_reason": self.hold_reason,
        }

    def render(self) -> NDArray[np.uint8] | None:
        """Return what the camera sees now, (H, W, 3) uint8; None without a render mode."""
        return None if self.render_mode is None else self.camera.render()

    def close(self) -> None:
        """Free physics and renderer; a second time it does nothing."""
        if not self._closed:
            self.camera.close()
            self.simulation.close()
        self._closed = True
