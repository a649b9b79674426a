"""Rigid-body dynamics in MuJoCo, with nominal or identified parameters, without PyTorch.

MuJoCo's bodies have a mass, a centre of mass and principal moments. Identified parameters need
not be those of a physical body: torques depend only on some combinations of them, so a mass can
be zero or negative. Since torques are linear in the parameters, each link is represented by two
bodies that are fixed to each other:

    one of 1 kg with the link's first moments m c and its inertia about the link's origin,
    and one of m - 1 kg, without inertia, in the origin.

Together they have exactly the ten identified parameters.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from invdyn_ros.config import from_mapping
from invdyn_ros.data.action_units import gravity_in, is_torque
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS, RigidBodyConfig
from invdyn_ros.robots.multibody_tree import MultibodyTree
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

INERTIAL, FRICTION, COMPLIANCE = "tree.inertial", "friction", "compliance"
RIGID_BODY_PARAMETERS = (INERTIAL, FRICTION, COMPLIANCE)  # names in a checkpoint
RESCALING = 3.0  # no power of two, so that rounding differs
_UPPER = np.triu_indices(3)


class MujocoRigidBody:
    """Predictions of a `RigidBody` for single frames.

    All calls share one workspace, so use it from one thread at a time.

    Attributes:
        parameters: arrays by RIGID_BODY_PARAMETERS.
    """

    n_obs_steps = 1

    def __init__(
        self,
        meta: ModelMetadata,
        parameters: Mapping[str, Array] | None = None,
        coulomb_velocity: float = RigidBodyConfig().coulomb_velocity,
        friction_filter_time: Array | None = None,
    ) -> None:
        """Create the model of the arm and unit in `meta`.

        Args:
            meta: metadata; the URDF in it gives the kinematic tree.
            parameters: arrays by RIGID_BODY_PARAMETERS; those not given are nominal ones.
            coulomb_velocity: [rad/s] at which Coulomb friction is fully developed.
            friction_filter_time: (n,) time over which friction changes sign [s]; default: 0.

        Raises:
            ValueError: no URDF, one without the joints or inertias, or parameters of another arm.
        """
        self.meta, self.n = meta, len(meta.joint_names)
        tree = MultibodyTree.from_urdf(meta.urdf, meta.joint_names, gravity_in(meta.action_unit))
        self.parameters = nominal_parameters(meta.action_unit, tree) | dict(parameters or {})
        for name, value in self.parameters.items():
            if value.shape != (shape := self.tensor_shapes(meta)[name]):
                raise ValueError(f"'{name}' has shape {value.shape}; {meta.robot} needs {shape}")
        mj_model, order = build_mujoco_model(tree._replace(inertial=self.parameters[INERTIAL]))
        mj_data = mujoco.MjData(mj_model)
        self._mj_model, self._mj_data = mj_model, mj_data
        # views: attribute access in MuJoCo is slow
        self._state = mj_data.qpos, mj_data.qvel, mj_data.qacc
        self._order = None if order == sorted(order) else np.array(order)
        viscous, coulomb, offset, rotor = self.parameters[FRICTION].T
        feedthrough = np.full(self.n, 1.0 if meta.action_unit == "rad" else 0.0)
        compliance = self.parameters[COMPLIANCE]
        self._weights = np.stack([feedthrough, viscous, rotor, compliance, coulomb, offset])
        # (6, n): q, qd, qdd, torque, smooth sign of qd, 1
        self._terms = np.ones_like(self._weights)
        self._coulomb_velocity = coulomb_velocity
        is_filtered = friction_filter_time is not None and friction_filter_time.any()
        self._filter_time = friction_filter_time if is_filtered else None
        self._gear_friction = np.array(meta.gear_friction).T if meta.gear_friction else None

    @staticmethod
    def tensor_shapes(meta: ModelMetadata) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors of a checkpoint of the family `rigid_body`."""
        n = len(meta.joint_names)
        shapes = {INERTIAL: (n, 10), FRICTION: (n, NUM_FRICTION_TERMS), COMPLIANCE: (n,)}
        return shapes | {
            f"{name}_{statistic}": (width * n,)
            for name, width in (("motion", 3), ("target", 1))
            for statistic in ("mean", "std")
        }

    @classmethod
    def from_tensors(cls, meta: ModelMetadata, tensors: Mapping[str, Array]) -> MujocoRigidBody:
        """Create the model from the tensors of a checkpoint of the family `rigid_body`."""
        config = from_mapping(RigidBodyConfig, meta.config, meta.family)
        parameters = {name: tensors[name] for name in RIGID_BODY_PARAMETERS}
        filter_time = np.array(config.friction_filter_time, float)
        return cls(meta, parameters, config.coulomb_velocity, filter_time)

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n) in SI units."""
        mean = np.empty((*motion.shape[:-1], self.n))
        frames = motion.reshape(-1, 3, self.n)
        for frame, action in zip(frames, mean.reshape(-1, self.n), strict=True):
            self._compute_action(frame, action)
        return PredictedAction(mean, None)

    def act(self, frame: Array) -> Array:
        """Return the action (n,) of one frame (3n,), as `predict` does."""
        action = np.empty(self.n)
        self._compute_action(frame.reshape(3, self.n), action)
        return action

    def action_at_rest(self, q: Array) -> Array:
        """Return the actions (..., n) of an arm at rest at positions (..., n)."""
        motion = np.concatenate([q, np.zeros((*q.shape[:-1], 2 * self.n))], axis=-1)
        return self.predict(motion, np.zeros(q.shape[:-1])).mean

    def rounding_error(self, motion: Array, time: Array) -> Array:
        """Return the size of the rounding errors (n,) of the actions of a motion (B, T, 3n).

        The torque is linear in the inertial parameters, so that a part of them with a larger
        compliance gives the same actions, but for their rounding errors.
        """
        inertial = self.parameters[INERTIAL] / RESCALING
        rescaled = {INERTIAL: inertial, COMPLIANCE: RESCALING * self.parameters[COMPLIANCE]}
        twin = MujocoRigidBody(
            self.meta,
            self.parameters | rescaled,
            self._coulomb_velocity,
            self._filter_time,
        )
        difference = self.predict(motion, time).mean - twin.predict(motion, time).mean
        error: Array = np.abs(difference).max((0, 1))
        return error

    def velocity_sign(self, qd: Array, qdd: Array) -> Array:
        """Return the smooth sign (..., n) of velocities [rad/s] at accelerations [rad/s2]."""
        if self._filter_time is None:
            return np.tanh(qd / self._coulomb_velocity)
        width = np.sqrt(self._coulomb_velocity**2 + (self._filter_time * qdd) ** 2)
        return np.tanh(qd / width)

    def _compute_action(self, frame: Array, action: Array) -> None:
        """Write the action (n,) of one frame [q, qd, qdd] (3, n) to `action`."""
        mj_model, mj_data, terms = self._mj_model, self._mj_data, self._terms
        q, qd, qdd = self._state
        q[:], qd[:], qdd[:] = frame if self._order is None else frame[:, self._order]
        mujoco.mj_kinematics(mj_model, mj_data)
        mujoco.mj_comPos(mj_model, mj_data)
        mujoco.mj_comVel(mj_model, mj_data)
        mujoco.mj_rne(mj_model, mj_data, 1, terms[3])
        if self._order is not None:
            terms[3, self._order] = terms[3].copy()
        terms[:3] = frame
        terms[4] = self.velocity_sign(frame[1], frame[2])
        np.add.reduce(self._weights * terms, axis=0, out=action)
        if self._gear_friction is not None:
            stribeck, load, velocity = self._gear_friction
            rise = stribeck * np.exp(-np.square(frame[1] / velocity))
            rise += load * np.abs(self.parameters[COMPLIANCE] * terms[3])
            action += rise * terms[4]


def nominal_parameters(unit: str, tree: MultibodyTree) -> dict[str, Array]:
    """Return the parameters of a URDF, by RIGID_BODY_PARAMETERS.

    The URDF gives torques [N m]; for servos and currents the compliance is identified, here 0.

    Args:
        unit: unit of the actions.
        tree: with the inertial parameters of the URDF.
    """
    n = len(tree.parents)
    compliance = np.full(n, 1.0 if is_torque(unit) else 0.0)
    friction = np.zeros((n, NUM_FRICTION_TERMS))
    return {INERTIAL: tree.inertial, FRICTION: friction, COMPLIANCE: compliance}


def urdf_model(
    robot: Robot,
    unit: str,
    data: Mapping[str, Any] | None = None,
    friction: Array | None = None,
) -> MujocoRigidBody:
    """Return the rigid-body dynamics of the URDF of an arm, without identification.

    Args:
        robot: the arm.
        unit: unit of the actions.
        data: `ModelMetadata.data` of a trained model, which holds the servo compliance
            [rad/(N m)]; only needed for units other than torques.
        friction: (n, 4) viscous and Coulomb friction, offset and rotor inertia; default: none.
    """
    meta = ModelMetadata(
        family="rigid_body",
        robot=robot.name,
        joint_names=robot.joint_names,
        action_unit=unit,
        rate=robot.rate,
        action_delay=0.0,
        urdf=robot.rigid_body_urdf(),
        config={"identify": False},
    )
    parameters = {} if friction is None else {FRICTION: friction}
    if not is_torque(unit) and data:
        parameters[COMPLIANCE] = np.array(data["urdf_compliance"], float)
    return MujocoRigidBody(meta, parameters)


def build_mujoco_model(tree: MultibodyTree) -> tuple[mujoco.MjModel, list[int]]:
    """Return a MuJoCo model with the tree's dynamics, and the tree index of each of its joints."""
    root = ET.Element("mujoco")
    ET.SubElement(root, "compiler", angle="radian", autolimits="false")
    ET.SubElement(root, "option", gravity=_to_text(np.array(tree.gravity)))
    bodies = {-1: ET.SubElement(root, "worldbody")}
    for k in tree.order:
        T = tree.transforms[k]
        pose = {"pos": _to_text(T[:3, 3]), "quat": _to_text(_quaternion(T[:3, :3]))}
        bodies[k] = ET.SubElement(bodies[tree.parents[k]], "body", pose)
        kind = {"type": "slide" if tree.prismatic[k] else "hinge", "axis": _to_text(tree.axes[k])}
        ET.SubElement(bodies[k], "joint", kind, name=str(k))
        point = ET.SubElement(bodies[k], "body", name=f"point {k}")
        for body in (bodies[k], point):  # mass and moments are set below
            ET.SubElement(body, "inertial", pos="0 0 0", mass="1", diaginertia="1 1 1")
    mj_model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    mj_model.body_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    for k, parameters in enumerate(tree.inertial):
        link, point = mj_model.joint(str(k)).bodyid[0], mj_model.body(f"point {k}").id
        _set_link(mj_model, link, point, parameters)
    return mj_model, [int(mj_model.joint(i).name) for i in range(len(tree.parents))]


def _set_link(mj_model: mujoco.MjModel, link: int, point: int, parameters: np.ndarray) -> None:
    """Set the ten parameters of a link in its two bodies.

    Args:
        mj_model: the MuJoCo model.
        link: body of 1 kg.
        point: body with the rest of the mass.
        parameters: mass, first moments and inertia (10,).
    """
    mass, centre = parameters[0], parameters[1:4]  # of 1 kg, m c [kg m] equals the centre [m]
    inertia = np.zeros((3, 3))
    inertia[_UPPER] = parameters[4:]
    inertia += np.triu(inertia, 1).T + np.outer(centre, centre) - centre @ centre * np.eye(3)
    moments, axes = np.linalg.eigh(inertia)
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    mj_model.body_mass[link], mj_model.body_mass[point] = 1.0, mass - 1.0
    mj_model.body_ipos[link], mj_model.body_iquat[link] = centre, _quaternion(axes)
    mj_model.body_inertia[link], mj_model.body_inertia[point] = moments, 0.0


def _quaternion(R: np.ndarray) -> np.ndarray:
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(R).ravel())
    return quaternion


def _to_text(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values)
