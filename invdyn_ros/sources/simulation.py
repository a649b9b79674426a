"""Motion that tells a model much: an arm enters, trajectories of the simulated arm leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from invdyn_ros.arms.bullet import JointSample, Simulation
from invdyn_ros.arms.plant import PlantConfig, load_plant
from invdyn_ros.control.driver import Driver
from invdyn_ros.control.follower import Measured, Model, PlainFeedback
from invdyn_ros.control.guard import GuardConfig, State, Target
from invdyn_ros.models import Meta
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robot import Robot
from invdyn_ros.trajectory import Trajectory

Array = NDArray[np.float64]
COULOMB_GUESS, ROTOR_GUESS = 0.01, 0.002  # per effort limit, of any geared joint [-, s2/rad]


@dataclass(frozen=True)
class ExcitationConfig:
    """How the arm is moved to learn its dynamics.

    Attributes:
        minutes: length of all episodes together [min].
        episode: length of one episode [s].
        harmonics: number of sines per joint.
        base: lowest frequency [Hz].
        speed: share of the velocity limits that is used [-].
        acceleration: share of the acceleration limits that is used [-].
        span: share of the joint range that is used [-].
        reach: farthest from the middle of its range a joint goes [rad].
        seed: seed of the motion and of the plant's noise.
    """

    minutes: float = 10.0
    episode: float = 15.0
    harmonics: int = 5
    base: float = 0.1
    speed: float = 0.7
    acceleration: float = 0.5
    span: float = 0.8
    reach: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "episode", "base"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("speed", "acceleration", "span"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share in (0, 1], got {getattr(self, name)}")
        if self.harmonics < 1:
            raise ValueError(f"harmonics must be at least 1, got {self.harmonics}")


class Excitation:
    """A finite Fourier series per joint (Swevers et al. 1997, eq. 6), within the arm's limits.

    Every episode has its own middle, phases and pace, and starts and ends at rest.
    """

    def __init__(
        self, robot: Robot, config: ExcitationConfig, random: np.random.Generator
    ) -> None:
        self.config = config
        n, k = robot.n, config.harmonics
        pace = random.uniform(0.25, 1.0)  # slow episodes show friction and gravity
        self.frequency = 2 * np.pi * config.base * np.arange(1, k + 1)  # (k,) [rad/s]
        self.sine = random.standard_normal((n, k)) / self.frequency
        self.cosine = random.standard_normal((n, k)) / self.frequency
        time = np.linspace(0, config.episode, 600)
        self.middle = np.zeros(n)
        q, qd, qdd = (np.stack(part) for part in zip(*map(self.at, time), strict=True))
        half = np.minimum(config.span * (robot.upper - robot.lower) / 2, config.reach)
        room = half * random.uniform(0.5, 1.0, n)
        share = np.min(
            [
                room / np.abs(q).max(0),
                pace * config.speed * robot.velocity / np.abs(qd).max(0),
                pace**2 * config.acceleration * robot.acceleration / np.abs(qdd).max(0),
            ],
            axis=0,
        )
        self.sine *= share[:, None]
        self.cosine *= share[:, None]
        slack = half - room
        self.middle = (robot.upper + robot.lower) / 2 + random.uniform(-slack, slack)

    def at(self, time: float) -> State:
        """Return the wanted state at a time [s]."""
        angle = self.frequency * time
        s, c = np.sin(angle), np.cos(angle)
        q = self.sine @ s + self.cosine @ (c - 1)
        qd = (self.sine * self.frequency) @ c - (self.cosine * self.frequency) @ s
        qdd = -(self.sine * self.frequency**2) @ s - (self.cosine * self.frequency**2) @ c
        window, rate, bend = _window(time, self.config.episode)
        return State(
            self.middle + window * q,
            window * qd + rate * q,
            window * qdd + 2 * rate * qd + bend * q,
        )


def urdf_model(robot: Robot, unit: str, data: dict[str, Any] | None = None) -> RigidBody:
    """Return the rigid-body dynamics of the URDF, nothing identified.

    Args:
        robot: the arm.
        unit: unit of the actions.
        data: of a checkpoint, which knows what a torque is worth to a servo [rad/(N m)].
    """
    meta = Meta(
        family="rigid_body",
        robot=robot.name,
        joint_names=robot.joint_names,
        action_unit=unit,
        rate=robot.rate,
        lead=0.0,
        urdf=robot.xml(),
        config={"identify": False},
    )
    model = RigidBody(meta)
    if unit != "N m" and data:
        compliance = torch.tensor(data["urdf_compliance"], dtype=model.dtype)
        model.compliance.copy_(compliance)
    return model


def nominal(robot: Robot, unit: str) -> Model:
    """Return what drives an arm before anything is learned: a guess, or plain setpoints."""
    if unit == "rad":
        return PlainFeedback(robot, unit)
    model = urdf_model(robot, unit)
    # Without a rotor's inertia, feedback on a light wrist is too weak to overcome its friction.
    guess = torch.tensor([0.0, COULOMB_GUESS, 0.0, ROTOR_GUESS], dtype=model.dtype)
    model.friction.copy_(torch.from_numpy(robot.effort)[:, None] * guess)
    return model


def simulate(
    robot: Robot,
    config: ExcitationConfig,
    plant: PlantConfig | None = None,
    unit: Literal["N m", "rad"] | None = None,
) -> Iterator[Trajectory]:
    """Yield one trajectory per episode: what the arm measured, and the action sent at each tick.

    Args:
        robot: the arm.
        config: how it moves.
        plant: how it differs from its URDF; the arm's own by default.
        unit: torque or setpoint; the arm's own by default.
    """
    torch.set_num_threads(1)
    unit_ = unit or robot.action_unit
    random = np.random.default_rng(config.seed)
    guard = GuardConfig(timeout=1.0)
    with Simulation(robot, plant or load_plant(robot.name), unit_) as simulation:
        for episode in range(max(1, round(60 * config.minutes / config.episode))):
            motion = Excitation(robot, config, random)
            simulation.reset(config.seed * 100_003 + episode, motion.at(0.0).q)
            driver = Driver(robot, nominal(robot, unit_), unit_, 0.0, guard)
            driver.engage(True)
            yield _episode(simulation, driver, motion, config.episode, unit_)


def _episode(
    simulation: Simulation, driver: Driver, motion: Excitation, length: float, unit: str
) -> Trajectory:
    robot, step = simulation.robot, 1 / simulation.robot.rate
    samples: list[JointSample] = []
    actions: list[Array] = []
    for _ in range(round(length * robot.rate)):
        sample = simulation.state()
        driver.aim(Target(sample.time, motion.at(sample.time + step), step))
        command = driver.tick(Measured(sample.time, sample.q, sample.qd))
        if command.action is None:
            raise RuntimeError(f"the guard stopped an excitation: {command.reason}")
        samples.append(sample)
        actions.append(command.action)
        simulation.step(command.action)
    qd = np.stack([s.qd for s in samples])
    return Trajectory(
        time=np.array([s.time for s in samples]),
        position=np.stack([s.q for s in samples]),
        velocity=qd if qd.shape[1] else np.empty((0, robot.n)),
        acceleration=np.empty((0, robot.n)),
        action=np.stack(actions),
        joint_names=robot.joint_names,
        action_unit=unit,
    ).differentiate()


def _window(time: float, length: float) -> tuple[float, float, float]:
    """Return a smooth rise and fall over the first and last tenth, with two derivatives."""
    edge = length / 10
    near = min(time, length - time)
    if near >= edge:
        return 1.0, 0.0, 0.0
    x = max(near, 0.0) / edge
    sign = 1.0 if time < length / 2 else -1.0
    value = x**3 * (10 - 15 * x + 6 * x * x)
    rate = 30 * x**2 * (1 - x) ** 2 / edge
    bend = 60 * x * (1 - x) * (1 - 2 * x) / edge**2
    return value, sign * rate, bend
