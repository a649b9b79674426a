"""Identified rigid-body dynamics in MuJoCo, for fast predictions of single frames.

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

import mujoco
import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

_UPPER = np.triu_indices(3)


class MujocoRigidBody:
    """Predictions of a `RigidBody`, about twenty times as fast for a single frame.

    All calls share one workspace, so use it from one thread at a time.
    """

    n_obs_steps = 1

    def __init__(self, model: RigidBody) -> None:
        """Copy the parameters of a model."""
        self.meta, self.n = model.meta, model.n
        mj_model, order = build_mujoco_model(model.tree)
        mj_data = mujoco.MjData(mj_model)
        self._mj_model, self._mj_data = mj_model, mj_data
        # views: attribute access in MuJoCo is slow
        self._state = mj_data.qpos, mj_data.qvel, mj_data.qacc
        self._order = None if order == sorted(order) else np.array(order)
        viscous, coulomb, offset, rotor = model.friction.double().cpu().numpy().T
        feedthrough = np.full(self.n, 1.0 if model.meta.action_unit == "rad" else 0.0)
        compliance = model.compliance.double().cpu().numpy()
        self._weights = np.stack([feedthrough, viscous, rotor, compliance, coulomb, offset])
        # (6, n): q, qd, qdd, torque, smooth sign of qd, 1
        self._terms = np.ones_like(self._weights)
        self._sharpness = 1 / model.config.coulomb_velocity

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions (B, T, n) of motion (B, T, 3n) in SI units."""
        mean = torch.empty(*motion.shape[:-1], self.n, dtype=torch.float64)
        frames = motion.double().numpy().reshape(-1, 3, self.n)
        for frame, action in zip(frames, mean.numpy().reshape(-1, self.n), strict=True):
            self._compute_action(frame, action)
        return Prediction(mean, None)

    def act(self, frame: np.ndarray) -> np.ndarray:
        """Return the action (n,) of one frame (3n,), as `predict` does."""
        action = np.empty(self.n)
        self._compute_action(frame.reshape(3, self.n), action)
        return action

    def _compute_action(self, frame: np.ndarray, action: np.ndarray) -> None:
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
        np.multiply(frame[1], self._sharpness, out=terms[4])
        np.tanh(terms[4], out=terms[4])
        np.add.reduce(self._weights * terms, axis=0, out=action)


def build_mujoco_model(tree: RigidBodyTree) -> tuple[mujoco.MjModel, list[int]]:
    """Return a MuJoCo model with the tree's dynamics, and the tree index of each of its joints."""
    n = len(tree.parents)
    root = ET.Element("mujoco")
    ET.SubElement(root, "compiler", angle="radian", autolimits="false")
    gravity = tree.gravity[:3, 3].double().cpu().numpy()
    ET.SubElement(root, "option", gravity=_to_text(gravity))
    bodies = {-1: ET.SubElement(root, "worldbody")}
    poses = tree.poses(torch.zeros(n).to(tree.inertial)).double().cpu().numpy()
    axes = tree.axes.double().cpu().numpy()  # (n, 4, 2): rotation, translation
    for k in tree.order:
        parent = tree.parents[k]
        T = poses[k] if parent < 0 else np.linalg.inv(poses[parent]) @ poses[k]
        pose = {"pos": _to_text(T[:3, 3]), "quat": _to_text(_quaternion(T[:3, :3]))}
        bodies[k] = ET.SubElement(bodies[parent], "body", pose)
        rotation, translation = axes[k, :3].T
        kind = {
            "type": "slide" if translation.any() else "hinge",
            "axis": _to_text(rotation + translation),
        }
        ET.SubElement(bodies[k], "joint", kind, name=str(k))
        point = ET.SubElement(bodies[k], "body", name=f"point {k}")
        for body in (bodies[k], point):  # mass and moments are set below
            ET.SubElement(body, "inertial", pos="0 0 0", mass="1", diaginertia="1 1 1")
    mj_model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    mj_model.body_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    for k, parameters in enumerate(tree.inertial.double().cpu().numpy()):
        link, point = mj_model.joint(str(k)).bodyid[0], mj_model.body(f"point {k}").id
        _set_link(mj_model, link, point, parameters)
    return mj_model, [int(mj_model.joint(i).name) for i in range(n)]


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
