"""A scripted person grasps a block by teleoperation of a simulated arm.

Landmarks, retargeting, inverse dynamics, motion guard and physics are those of the graph of
teleop with `scene:=blocks`, one after the other in simulated time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.domain_randomization import DomainRandomization
from invdyn_ros.arms.pybullet_simulation import JointSample
from invdyn_ros.benchmarks.person_body import PersonBody
from invdyn_ros.benchmarks.safety_rig import Setup, load_setup
from invdyn_ros.benchmarks.scripted_person import ScriptedPerson, ScriptedPersonConfig, View
from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.grasp.envs.cameras import SimulatedMarkerSensor
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.learning.recorded_episodes import DesiredTrajectory, RecordedGrasp
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.teleop.hand_grip import HandGrip
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter, RetargetResult
from invdyn_ros.typing import Array

IMAGE_RATE = 30.0  # [Hz]
HAND_NOISE = 0.003  # [m] standard deviation of each landmark of the hand
LOST_HANDS = 0.05  # fraction of the images in which the hand is not detected
TIME_LIMIT = 90.0  # [s] of an episode
PERSON_STREAM = 7  # stream of random numbers for the person


class TeleopEpisode(NamedTuple):
    """Outcome and recording of one episode.

    Attributes:
        lifted: whether the block was lifted while the arm was static.
        placed: whether it was released at its goal, and still lay there when the person had
            retreated.
        seconds: duration [s].
        phase: what the person did at the end.
        violations: ticks in which a measured joint was beyond its velocity or position limit.
        contacts: ticks with a contact of the arm with the table or itself.
        faults: why the arm stopped until the person engaged it again.
        recording: joints, landmarks and poses of the block.
        grasp: the same for demonstrations.
    """

    lifted: bool
    placed: bool
    seconds: float
    phase: str
    violations: int
    contacts: int
    faults: tuple[str, ...]
    recording: Recording
    grasp: RecordedGrasp

    def without_recording(self) -> TeleopEpisode:
        """Return the outcome alone, of little memory."""
        nothing = JointSamples.from_rows([])
        no_plan = DesiredTrajectory(np.empty(0), np.empty(0), np.empty(0))
        empty = RecordedGrasp(0.0, nothing, no_plan, np.empty((0, 2)), [], np.empty((0, 8)))
        return self._replace(recording=Recording(nothing, nothing), grasp=empty)


class TeleopRun:
    """One episode: a person, an arm, a table with a block."""

    def __init__(
        self,
        arm: str,
        noise: DomainRandomization,
        seed: int,
        landmark_noise: float,
        age: float,
        person: ScriptedPersonConfig,
    ) -> None:
        """Start at home with an engaged arm and a person who faces the camera.

        Args:
            arm: name of an arm with a shipped checkpoint and a gripper.
            noise: domain randomization of arm and block.
            seed: of everything that is random.
            landmark_noise: noise of the landmarks, as a multiple of that of MediaPipe.
            age: time from an image to its target [s].
            person: abilities of the person.
        """
        self.robot, model, unit, action_delay = load_setup(Setup(arm, arm))
        self.scene, self.age, self.landmark_noise = load_scene(arm), age, landmark_noise
        self.simulation = GraspSimulation(
            self.robot, noise, self.scene, unit, seed, max_episode_seconds=TIME_LIMIT
        )
        self.simulation.next_episode()
        self.camera = SimulatedMarkerSensor(self.simulation, self.scene)
        self.camera.reset()
        self.controller = ArmController(
            self.robot,
            model,
            unit,
            action_delay,
            fallback=fallback_from_metadata(model.meta),  # type: ignore[attr-defined]
        )
        self.controller.engage(True)
        self.retargeter = Retargeter(self.robot, RetargetConfig(tool="down"))
        self.retargeter.reset(self.simulation.physics.state().q)
        self.rng = np.random.default_rng([seed, PERSON_STREAM])
        self.body, self.grip = PersonBody("left", landmark_noise, self.rng), HandGrip()
        tool = self.robot.forward_kinematics(self.robot.home)[:3, 3]
        hand = (tool - self.retargeter.mapping.shoulder) / self.retargeter.mapping.scale
        self.person = ScriptedPerson(
            self.scene, self.retargeter.mapping.scale, hand, person, self.rng
        )
        self.targets: deque[tuple[float, RetargetResult, float]] = deque()  # with the opening
        self.opening = self.max_opening
        self.landmarks: list[tuple[float, Array | None]] = []
        self.joints: list[tuple[float, Array, Array, Array, float]] = []
        self.desired: list[tuple[float, Array, Array, Array, float]] = []
        self.sent: dict[float, Array] = {}  # desired positions (n,) [rad] by their time [s]
        self.gripper_commands: list[tuple[float, float]] = []
        self.blocks: list[tuple[float, Array, Array]] = []
        self.detections: list[tuple[float, BlockDetection]] = []
        self.violations = 0
        self.faults: list[str] = []
        self.engage_at = np.inf  # [s] when the person engages the arm again
        self.engage_time = person.engage_time

    @property
    def max_opening(self) -> float:
        """Largest opening of the gripper [m]."""
        gripper = self.robot.gripper
        return 0.0 if gripper is None else gripper.max_opening

    def run(self) -> TeleopEpisode:
        """Run until the person is content or the time is over."""
        simulation, image_time, is_over = self.simulation, 0.0, False
        with simulation:
            while not is_over:
                time = simulation.physics.time
                if time >= image_time - 1e-9:
                    self._take_image(time)
                    image_time += 1 / IMAGE_RATE
                self._tick(time)
                if simulation.camera_due:
                    self.camera.capture()
                simulation.is_over()  # updates the success detector
                is_over = self.person.is_done or time > TIME_LIMIT
            outcome, placed = simulation.success_detector, self._is_placed()
            contacts = simulation.physics.contact_ticks
        return TeleopEpisode(
            outcome.lifted,
            placed,
            simulation.physics.ticks / self.robot.rate,
            self.person.phase.name,
            self.violations,
            contacts,
            tuple(self.faults),
            self._recording(),
            self._grasp(),
        )

    def _is_placed(self) -> bool:
        """Return whether the block was placed, and now lies at its goal without the gripper."""
        physics = self.simulation.physics
        outcome = self.simulation.success_detector
        distance = float(np.linalg.norm(physics.block_pose()[0] - outcome.goal))
        return outcome.placed and distance <= GOAL_TOLERANCE and not physics.is_grasping()

    def _take_image(self, time: float) -> None:
        """Film the person, who looks at the scene, and compute the target of the arm."""
        physics = self.simulation.physics
        sample = physics.state()
        tool = self.robot.forward_kinematics(sample.q)[:3, 3]
        self.person.look(View(time, tool, physics.block_pose()[0], sample.opening))
        hand, hand_landmarks = self.person.move(time, 1 / IMAGE_RATE)
        landmarks = self.body.landmarks(hand, 1 / IMAGE_RATE)
        self.landmarks.append((time, landmarks))
        result = self.retargeter(landmarks, time, None, sample.q)
        noise = self.landmark_noise * HAND_NOISE * self.rng.standard_normal(hand_landmarks.shape)
        is_seen = result.hold_reason is None and self.rng.random() > LOST_HANDS
        closed = self.grip.update(hand_landmarks + noise if is_seen else None, time)
        self.targets.append((time, result, 0.0 if closed else self.max_opening))

    def _tick(self, time: float) -> None:
        """Run one control tick."""
        physics = self.simulation.physics
        if self.targets and self.targets[0][0] + self.age <= time + 1e-9:
            stamp, result, self.opening = self.targets.popleft()
            state = State(result.q, result.qd, np.zeros(self.robot.n))
            self.sent[stamp + result.horizon] = result.q
            self.controller.set_target(Target(stamp, state, result.horizon))
        sample = physics.state()
        measured = MeasuredState(time, sample.q, sample.qd, sample.effort)
        self._engage(time)
        command = self.controller.update(measured)
        self._record(time, sample, command)
        self.simulation.step(command.action, self.opening)

    def _engage(self, time: float) -> None:
        """Engage an arm again some time after a fault has stopped it."""
        fault = self.controller.fault
        if fault is None:
            self.engage_at = np.inf
        elif np.isinf(self.engage_at):
            self.faults.append(str(fault))
            self.engage_at = time + self.engage_time
        elif time >= self.engage_at:
            self.controller.engage(True)
            self.engage_at = time + self.engage_time

    def _record(self, time: float, sample: JointSample, command: Command) -> None:
        """Store a tick."""
        robot, physics = self.robot, self.simulation.physics
        q, qd = physics.true_state()
        beyond = (np.abs(qd) > robot.velocity) | (q < robot.lower) | (q > robot.upper)
        self.violations += bool(beyond.any())
        self.joints.append((time, sample.q, sample.qd, sample.effort, sample.opening))
        if command.desired is not None and command.action is not None:
            plan = command.desired
            self.desired.append((time, plan.q, plan.qd, command.action, np.nan))
        self.gripper_commands.append((time, self.opening))
        if self.simulation.camera_due:
            self.blocks.append((time, *physics.block_pose()))
        self.detections += [(time, detection) for detection in self.camera.new_detections()]

    def _recording(self) -> Recording:
        return Recording(
            JointSamples.from_rows(self.joints),
            JointSamples.from_rows(self.desired),
            targets=self.sent,
            landmarks=self.landmarks,
            block_poses={time: (position, turn) for time, position, turn in self.blocks},
        )

    def _grasp(self) -> RecordedGrasp:
        times = np.array(sorted(self.sent))
        q = np.stack([self.sent[time] for time in times])
        return RecordedGrasp(
            times[0],
            JointSamples.from_rows(self.joints),
            DesiredTrajectory(times, q, np.gradient(q, times, axis=0)),
            np.array(self.gripper_commands),
            self.detections,
            np.array([np.concatenate([[t], p, turn]) for t, p, turn in self.blocks]),
        )


def run_episode(
    arm: str,
    noise: DomainRandomization,
    seed: int,
    landmark_noise: float = 1.0,
    age: float = 0.03,
    person: ScriptedPersonConfig | None = None,
) -> TeleopEpisode:
    """Run one episode and return its outcome.

    Args:
        arm: name of an arm with a shipped checkpoint and a gripper.
        noise: domain randomization of arm and block.
        seed: of everything that is random.
        landmark_noise: noise of the landmarks, as a multiple of that of MediaPipe.
        age: time from an image to its target [s].
        person: abilities of the person; None: the usual ones.
    """
    config = person or ScriptedPersonConfig()
    return TeleopRun(arm, noise, seed, landmark_noise, age, config).run()
