"""Gymnasium environment of block grasping.

Simulation, gripper, noise, safety limits, inverse-dynamics model and success criteria are those of
the live graph. Import `invdyn_ros.grasp.envs.registration` to register the environment ids.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.control.motion_guard import BLOCKED
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.grasp.envs.cameras import make_camera_sensor
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.envs.reward import ShapedReward
from invdyn_ros.grasp.envs.visual_servo_expert import VisualServoExpert
from invdyn_ros.grasp.policies.observation import OBSERVATION_LIMIT, ObservationBuilder
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.models.nominal_checkpoint import simulation_checkpoint
from invdyn_ros.robots.registry import load_grasp_spec, load_scene
from invdyn_ros.robots.robot import load_robot

NUM_SEEDS = 2**31


class GraspEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """Find a block on a table, lift it and place it at a goal.

    An arm of n joints (UR5: 6, DofBot: 5) with a parallel gripper gets one action every 40 ms.

    ## Action space

    `control_mode="joint"`: `Box(-1, 1, (n + 1,), float32)`

    | Size | Action | Value at 1 |
    |---|---|---|
    | n | joint velocity at the end of the period | 0.6 of the rated velocity [rad/s] |
    | 1 | gripper opening: -1 closed, 1 open | maximum opening [m] |

    The velocity is reached with constant acceleration; its scale is
    `action_space.joint_speed_fraction`.

    `control_mode="cartesian"`: `Box(-1, 1, (5,), float32)`, in the base frame

    | Size | Action | Value at 1 |
    |---|---|---|
    | 3 | velocity of the tool along x, y, z | 0.3 m/s |
    | 1 | angular velocity of the tool about z | 1.5 rad/s |
    | 1 | gripper opening, as above | |

    The tool keeps pointing down. The scales are `action_space.linear_speed` and
    `action_space.angular_speed`.

    An action sets the desired joint state at the end of its period. The arm controller applies
    the safety limits, and the inverse-dynamics model computes the commands at the arm's own rate.

    ## Observation space

    `obs_mode="state"`: `Box(-10, 10, (3 n + a + 20,), float32)` for actions of size a. Every entry
    is also available on the real arm.

    | Size | Observation | Unit | Range |
    |---|---|---|---|
    | n | measured joint positions | rad | joint limits |
    | n | measured joint velocities | rad/s | rated velocities |
    | n | target minus measured joint positions | 0.1 rad | -2 to 2 |
    | a | previous action | 1 | -1 to 1 |
    | 1 | measured gripper opening | maximum opening | 0 to 1 |
    | 3 | position of the tool centre point in the base frame | 0.1 m | workspace |
    | 3 | approach direction of the tool | 1 | -1 to 1 |
    | 3 | vector from the tool to the goal | 0.1 m | workspace |
    | 3 | vector from the tool to the block | 0.1 m | workspace |
    | 3 | vector from the block to the goal | 0.1 m | workspace |
    | 2 | cosine and sine of 4 times the yaw from fingers to block | 1 | -1 to 1 |
    | 1 | visibility of the block minus the age of its last detection | 1 | -1 to 1 |
    | 1 | number of detections since the block moved | 10 | 0 to 1 |

    Joint velocities are finite differences if the arm does not measure them. The entries of the
    block are 0 before its first detection; failed grasps correct its position. Its visibility is 1
    if it was detected in the last 0.25 s, else 0; the age has the unit 2 s.

    `obs_mode="pixels"`: `Dict(pixels=Box(0, 255, (64, 64, 3), uint8), state=Box(-10, 10,
    (3 n + a + 10,), float32))`: an RGB image of a block without markers, and the table above up
    to the vector to the goal. Images arrive at 10 Hz, delayed by the latency of the episode.

    ## Rewards

    A potential-based shaped reward with bonuses for lifting and placing the block, minus an
    action-rate penalty; see `invdyn_ros.grasp.envs.reward`.

    ## Starting state

    The arm is at its home position; the block lies at any yaw anywhere in an area of 20 x 20 cm
    (UR5) or 7 x 16 cm (DofBot).

    `reset(seed=s)` starts episode 0 of run s, the same as `seed:=s` in the live graph; each
    further `reset()` starts the next episode of the run. `reset(options={"episode": k})` starts
    episode k.

    ## Episode end

    - Termination: half a second after the block was placed.
    - Truncation: after `max_episode_seconds`.

    ## Info

    | Key | Value |
    |---|---|
    | `is_success` | the block was released within 25 mm of the goal while the arm was static |
    | `lifted` | the block was lifted by 40 mm while the arm was static |
    | `detections` | new detections of the block, list of `BlockDetection` |
    | `time`, `opening` | simulated time [s], measured gripper opening [m] |
    | `episode_index` | index of the episode in its run |
    | `hold_reason` | why the arm controller holds the arm, or None |
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 (gymnasium's)

    def __init__(
        self, config: GraspEnvConfig | None = None, render_mode: str | None = None, **kwargs: Any
    ) -> None:
        """Create an environment.

        Args:
            config: settings; None: those in `kwargs`.
            render_mode: rgb_array: `render` returns the camera image; None: it returns None.
            **kwargs: fields of `GraspEnvConfig`.
        """
        self.config = config = config or GraspEnvConfig(**kwargs)
        self.render_mode = render_mode
        self.robot, self.scene = load_robot(config.arm), load_scene(config.arm)
        self.robot_action_space = make_action_space(
            config.control_mode, self.robot, config.action_space
        )
        checkpoint = config.checkpoint or simulation_checkpoint(self.robot)
        self.controller = load_controller(self.robot, str(checkpoint)).controller
        self.simulation = GraspSimulation(
            self.robot,
            config.randomization,
            self.scene,
            self.controller.unit,
            max_episode_seconds=config.max_episode_seconds,
            physics_rate=config.physics_rate or load_grasp_spec(config.arm).physics_rate,
        )
        self.simulation.random_goal = config.random_goal
        action_size = self.robot_action_space.size
        self.observation_builder = ObservationBuilder(self.robot, self.scene, action_size)
        self._expert = VisualServoExpert(self.observation_builder, self.robot_action_space)
        self.pixels = config.obs_mode == "pixels"
        self.camera = make_camera_sensor(
            self.simulation, self.scene, self.pixels * config.image_size, config.block_pose_model
        )
        self.action_space = spaces.Box(-1.0, 1.0, (action_size,), np.float32)
        self.observation_space = self._observation_space()
        self._seeded = self._closed = False

    def _observation_space(self) -> spaces.Space[Any]:
        builder, limit = self.observation_builder, OBSERVATION_LIMIT
        if not self.pixels:
            return spaces.Box(-limit, limit, (builder.size,), np.float32)
        size = self.config.image_size
        return spaces.Dict(
            pixels=spaces.Box(0, 255, (size, size, 3), np.uint8),
            state=spaces.Box(-limit, limit, (builder.proprioception_size,), np.float32),
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode.

        Args:
            seed: start the first episode of this seed; None: the next episode of the run.
            options: {"episode": index} selects an episode of the run.

        Raises:
            ValueError: unknown options.
        """
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            run = int(self.np_random.integers(NUM_SEEDS)) if seed is None else seed
            self.simulation.start_run(run)
            self._seeded = True
        remaining = dict(options or {})
        if "episode" in remaining:
            self.simulation.episode = int(remaining.pop("episode")) - 1
        if remaining:
            raise ValueError(f"unknown options {sorted(remaining)}; known: ['episode']")
        self.simulation.next_episode()
        self.controller.reset()
        self.controller.engage(True)
        self.observation_builder.reset()
        self.observation_builder.goal = self.simulation.success_detector.goal
        self.robot_action_space.reset(self.simulation.physics.state().q)
        self.camera.reset()
        self.hold_reason: str | None = None
        state = self.simulation.privileged_state()
        self.reward = ShapedReward(self.config.reward, self.simulation.success_detector, state)
        return self._get_obs(), self._get_info()

    @property
    def is_stopped(self) -> bool:
        """Whether a fault or the motion guard has stopped the arm."""
        is_blocked = self.hold_reason is not None and self.hold_reason.startswith(BLOCKED)
        return is_blocked or self.controller.fault is not None

    def set_difficulty(self, area: float, noise: float) -> None:
        """Scale the difficulty of the next episodes; see `GraspSimulation.set_difficulty`."""
        self.simulation.set_difficulty(area, noise)

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Apply an action for one period.

        Returns:
            Observation, reward, terminated, truncated and info.

        Raises:
            ValueError: the action has the wrong size or is not finite.
        """
        physics = self.simulation.physics
        start = physics.state()
        target = self.robot_action_space(np.asarray(action, float), start.q)
        period = self.config.action_space.action_period
        self.controller.set_target(Target(start.time, target.state, period))
        over = False
        for _ in range(self.robot_action_space.ticks_per_action):
            sample = physics.state()
            command = self.controller.update(MeasuredState(sample.time, sample.q, sample.qd))
            self.hold_reason = command.reason
            self.simulation.step(command.action, target.opening)
            if self.simulation.camera_due:
                self.camera.capture()
                over = self.simulation.is_over()
                if over:
                    break
        clipped = np.clip(np.asarray(action, float), -1, 1)
        self.observation_builder.previous_action = clipped
        state, detector = self.simulation.privileged_state(), self.simulation.success_detector
        reward = self.reward(state, detector, clipped)
        terminated = over and self.simulation.is_completed
        return self._get_obs(), reward, terminated, over and not terminated, self._get_info()

    def expert_action(
        self, inputs: Literal["privileged", "detections"] = "privileged"
    ) -> NDArray[np.float32]:
        """Return the action (a,) of the visual-servoing expert.

        Args:
            inputs: privileged: the true state; detections: the state as estimated from the
                measurements that a policy has.
        """
        state = (
            self.simulation.privileged_state()
            if inputs == "privileged"
            else self.observation_builder.estimated_state()
        )
        return self._expert.action(state, self.simulation.success_detector.goal)

    def relabel(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the last observation with other blocks, and the expert's actions there.

        See `VisualServoExpert.relabel`.

        Raises:
            ValueError: the observations have pixels.
        """
        if self.pixels:
            raise ValueError("observations with pixels cannot be relabeled; use obs_mode 'state'")
        return self._expert.relabel(self._observation, count, self.np_random)

    def _get_obs(self) -> Any:
        _, q, qd, _, opening = self.simulation.physics.state()
        time, builder = self.simulation.physics.time, self.observation_builder
        self._new_detections = self.camera.new_detections()
        for detection in self._new_detections:
            builder.on_detection(detection)
        target = self.robot_action_space.target
        proprioception = builder.proprioception(time, q, qd, opening, target)
        if self.pixels:
            return {"pixels": self.camera.latest_image(), "state": proprioception}
        self._observation = np.concatenate([proprioception, builder.block_features(time)])
        return self._observation

    def _get_info(self) -> dict[str, Any]:
        state, detector = self.simulation.physics.state(), self.simulation.success_detector
        return {
            "time": state.time,
            "opening": state.opening,
            "detections": self._new_detections,
            "episode_index": self.simulation.episode,
            "is_success": detector.success,
            "lifted": detector.lifted,
            "hold_reason": self.hold_reason,
        }

    def render(self) -> NDArray[np.uint8] | None:
        """Return the camera image (H, W, 3) uint8; None without a render mode."""
        return None if self.render_mode is None else self.camera.render()

    def close(self) -> None:
        """Free physics engine and renderer; may be called repeatedly."""
        if not self._closed:
            self.camera.close()
            self.simulation.close()
        self._closed = True
