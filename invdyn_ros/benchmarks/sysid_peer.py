"""Identification by `mujoco.sysid`, the toolbox of MuJoCo, from the same motions and torques.

It simulates short pieces of a recording from the measured state with the measured torques, and
fits inertias (log-Cholesky), damping, dry friction and armature by Gauss-Newton with finite
differences, so that positions and velocities agree. Pieces are in one batch, and errors relative
to the standard deviations of the recording: by default each piece has a scale of its own, in
which joints that hardly move count most.
"""

from __future__ import annotations

import importlib
import importlib.util
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import mujoco
import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.rigid_body_dynamics import PSEUDO_INERTIA_BASIS
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

# imported by name, since MuJoCo's own types are incomplete
has_module = importlib.util.find_spec("mujoco.sysid") is not None  # from MuJoCo 3.5 on
sysid: Any = importlib.import_module("mujoco.sysid") if has_module else None

TIME_STEP = 0.004  # [s] of its simulation
PIECE_SECONDS = 0.5
MAX_ITERATIONS = 60
START_FRICTION = (0.01, 0.01, 0.0, 0.001)  # relative to effort limit and unit motion
MAX_FRICTION = 20.0  # times the start
FIELDS = {0: "damping", 1: "frictionloss", 3: "armature"}  # friction term -> field of a joint
DIVERGED = 1e3  # error of a simulation that does not end, in standard deviations
MIN_MOMENT = 1e-9  # [kg m2]
INSTALL_HINT = "no mujoco.sysid to compare with; pip install 'mujoco[sysid]'"


class Parameters(NamedTuple):
    """Parameters of an arm."""

    inertial: Array  # (n, 10) mass, first moments, second moments about the joint frame
    friction: Array  # (n, 4) viscous, Coulomb, offset, rotor inertia


def is_installed() -> bool:
    """Return whether the toolbox has all that it needs."""
    return hasattr(sysid, "optimize")


class SysidProblem:
    """Identification of an arm from trajectories, as mujoco.sysid takes it."""

    def __init__(self, robot: Robot, trajectories: Sequence[Trajectory], delay: float) -> None:
        """Create the model and the pieces.

        Args:
            robot: the arm, whose URDF is the start.
            trajectories: motions with torques.
            delay: from the stamp of a torque to its effect [s].
        """
        self.robot, self.spec = robot, _spec(robot)
        model = self.spec.compile()
        self.bodies = [model.body(model.joint(j).bodyid[0]).name for j in robot.joint_names]
        sequences = sysid.ModelSequences("arm", self.spec, [], [], [], [])
        pieces = [p for t in trajectories for p in _pieces(model, robot, t, delay)]
        sequences.measured_rollout = [pieces]
        states = [np.concatenate([t.position, t.velocity], 1) for t in trajectories]
        modify = partial(_scaled_error, np.concatenate(states).std(0))
        self._residual = sysid.build_residual_fn(
            models_sequences=[sequences], modify_residual=modify
        )
        self.parameters = self._start(model)

    def solve(self) -> Parameters:
        """Return the parameters of the best fit."""
        result, _ = sysid.optimize(
            self.parameters, self.residual, verbose=False, max_iters=MAX_ITERATIONS
        )
        inertial, friction = [], np.zeros((self.robot.n, NUM_FRICTION_TERMS))
        for body in self.bodies:
            mass, first, second = _moments(result[body].value)
            inertial.append([mass, *first, *second[np.triu_indices(3)]])
        for k, field in FIELDS.items():
            friction[:, k] = [result[f"{j} {field}"].value[0] for j in self.robot.joint_names]
        return Parameters(np.array(inertial), friction)

    def error(self, parameters: Parameters) -> float:
        """Return the RMS error of the simulated velocities, relative to their deviation."""
        for body, row in zip(self.bodies, parameters.inertial, strict=True):
            pseudo = (row @ PSEUDO_INERTIA_BASIS).reshape(4, 4)
            self.parameters[body].value = sysid.model_modifier.theta_from_pseudoinertia(pseudo)
        for k, field in FIELDS.items():
            for joint, value in zip(
                self.robot.joint_names, parameters.friction[:, k], strict=True
            ):
                self.parameters[f"{joint} {field}"].value = np.array([value])
        (errors,), *_ = self.residual(self.parameters.as_vector(), self.parameters)
        n = self.robot.n
        return float(np.sqrt((errors.reshape(-1, 2 * n)[:, n:] ** 2).mean()))

    def residual(self, x: Array, parameters: Any) -> tuple[list[Array], Any, Any]:
        """Return the errors at x (m,), or at each column of x (m, k)."""
        errors, predicted, measured = self._residual(x, parameters)
        columns = 1 if x.ndim == 1 else x.shape[1]
        flat = np.asarray(errors[0]).T.reshape(columns, -1).T
        return [flat[:, 0] if x.ndim == 1 else flat], predicted, measured

    def _start(self, model: mujoco.MjModel) -> Any:
        """Return the parameters of the URDF and some friction, with bounds."""
        start = sysid.ParameterDict()
        for body in self.bodies:
            kind, change = sysid.InertiaType.Pseudo, partial(_set_inertia, body)
            start.add(
                sysid.body_inertia_param(
                    self.spec, model, body, kind, param_name=body, modifier=change
                )
            )
        for k, field in FIELDS.items():
            for joint, effort in zip(self.robot.joint_names, self.robot.effort, strict=True):
                value, change = START_FRICTION[k] * effort, partial(_set_friction, joint, field)
                bounds = 1e-4 * value, MAX_FRICTION * value
                start.add(sysid.Parameter(f"{joint} {field}", value, *bounds, modifier=change))
        return start


def _spec(robot: Robot) -> mujoco.MjSpec:
    """Return MuJoCo's model of an arm with motors and sensors, without joint limits."""
    root = ET.fromstring(robot.rigid_body_urdf())
    compiler = {"fusestatic": "true", "balanceinertia": "true"}
    ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", compiler)
    urdf = mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))
    urdf.compile()
    spec = mujoco.MjSpec.from_string(urdf.to_xml())
    spec.option.timestep = TIME_STEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    kinds = {"position": "mjSENS_JOINTPOS", "velocity": "mjSENS_JOINTVEL"}
    for joint in robot.joint_names:
        spec.joint(joint).limited = 0
        motor = spec.add_actuator(name=joint, target=joint)
        motor.trntype = mujoco.mjtTrn.mjTRN_JOINT
        motor.set_to_motor()
    for name, kind in kinds.items():
        for joint in robot.joint_names:
            sensor = spec.add_sensor(name=f"{joint} {name}", objname=joint)
            sensor.type = getattr(mujoco.mjtSensor, kind)
            sensor.objtype = mujoco.mjtObj.mjOBJ_JOINT
    return spec


def _pieces(
    model: mujoco.MjModel, robot: Robot, trajectory: Trajectory, delay: float
) -> list[Any]:
    """Return the pieces of a trajectory, each from the measured state.

    Args:
        model: MuJoCo's model of the arm.
        robot: the arm.
        trajectory: motion with torques.
        delay: from the stamp of a torque to its effect [s].
    """
    pieces, rate = [], 1 / float(np.median(np.diff(trajectory.time)))
    length = round(PIECE_SECONDS * rate)
    times = np.arange(length + 1) / rate
    margin = int(np.ceil(abs(delay) * rate)) + 1
    for first in range(margin, len(trajectory.time) - length - margin, length):
        stamps = trajectory.time[first] + times
        position, velocity, torque = (
            np.stack([np.interp(at, trajectory.time, x[:, j]) for j in range(robot.n)], 1)
            for x, at in (
                (trajectory.position, stamps),
                (trajectory.velocity, stamps),
                (trajectory.action, stamps - delay),
            )
        )
        measured = np.concatenate([position, velocity], 1)
        pieces.append(
            sysid.SystemTrajectory(
                model=model,
                control=sysid.TimeSeries.from_control_names(times, torque, model),
                sensordata=sysid.TimeSeries.from_names(times, measured, model),
                initial_state=sysid.create_initial_state(model, position[0], velocity[0]),
                state=None,
            )
        )
    return pieces


def _scaled_error(
    scale: Array, parameters: Any, predicted: Any, measured: Any, *_: Any, **__: Any
) -> tuple[Array, Any, Any]:
    """Return the error of a simulated piece, relative to the standard deviations `scale`."""
    times, mapping = measured.times[1:], measured.signal_mapping
    measured = sysid.TimeSeries(times, measured.data[1:], mapping)
    predicted = sysid.TimeSeries(times, predicted.resample(times).data, mapping)
    error = (predicted.data - measured.data) / scale
    error = np.nan_to_num(error, nan=DIVERGED, posinf=DIVERGED, neginf=-DIVERGED)
    return error, predicted, measured


def _moments(theta: Array) -> tuple[float, Array, Array]:
    """Return mass, first (3,) and second moments (3, 3) of a log-Cholesky vector (10,)."""
    pi = sysid.model_modifier.pi_from_theta(theta)
    return float(pi[0]), pi[1:4], pi[4:].reshape(3, 3)


def _set_inertia(body: str, spec: mujoco.MjSpec, parameter: Any) -> None:
    """Set the inertia of a body; its own function compiles the model each time, and fails."""
    mass, first, second = _moments(parameter.value)
    centre = first / mass
    central = second - mass * (centre @ centre * np.eye(3) - np.outer(centre, centre))
    moments, axes = np.linalg.eigh(central)
    moments = np.maximum(moments, MIN_MOMENT)
    moments[2] = min(moments[2], moments[:2].sum())  # up to rounding
    axes[:, 0] *= np.linalg.det(axes)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, axes.ravel())
    element = spec.body(body)
    element.explicitinertial, element.mass, element.ipos = True, mass, centre
    element.iquat, element.inertia = quaternion, moments
    element.fullinertia = np.full((6, 1), np.nan)


def _set_friction(joint: str, field: str, spec: mujoco.MjSpec, parameter: Any) -> None:
    """Set damping, dry friction or armature of a joint."""
    element, value = spec.joint(joint), float(parameter.value[0])
    if np.ndim(getattr(element, field)):
        getattr(element, field)[0] = value
    else:
        setattr(element, field, value)
