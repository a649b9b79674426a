"""Exact parameters of planar bodies, taken from their MuJoCo models."""

from __future__ import annotations

from itertools import pairwise

import mujoco
import numpy as np
import torch
from torch import Tensor

from invdyn_ros.config import load_yaml
from invdyn_ros.models.planar_body.contact_solver import ContactParameters
from invdyn_ros.models.planar_body.dynamics import Inertia, KinematicTree
from invdyn_ros.models.planar_body.parameters import BodyParameters
from invdyn_ros.models.planar_body.simulator import PlanarBody
from invdyn_ros.robots.robot import package_file
from invdyn_ros.sources.passive_rollouts import joint_names, load_body


def load_tree(name: str) -> tuple[KinematicTree, tuple[int, ...]]:
    """Return the tree and the capsules per link of the shipped config of a body."""
    fields = load_yaml(package_file(f"config/timeseries/{name}_identified_body.yaml"))
    names = ("hinges", "parents", "axis_signs")
    tree = KinematicTree(
        fields["x_joint"], fields["z_joint"], *(tuple(fields[key]) for key in names)
    )
    return tree, tuple(fields["capsules_per_link"])


def joint_order(name: str) -> list[int]:
    """Return the indices of [x_joint, z_joint, hinges] among the joints of a body."""
    return load_tree(name)[0].joint_order(joint_names(load_body(name)))


def mujoco_parameters(name: str) -> tuple[PlanarBody, BodyParameters]:
    """Return the simulator of a body and its parameters, per total mass."""
    model, (tree, capsules_per_link) = load_body(name), load_tree(name)
    hinges = [model.joint(joint).id for joint in tree.hinges]
    links = [int(model.jnt_bodyid[k]) for k in hinges]
    count, mass = len(links), model.body_mass[links]
    pivots = _xz(model.jnt_pos[hinges])
    centres = _xz(model.body_ipos[links]) - pivots
    hinge_pos = np.zeros((count, 2))
    for k, parent in enumerate(tree.parents):
        if parent >= 0:
            hinge_pos[k] = _xz(model.body_pos[links[k]]) + pivots[k] - pivots[parent]
    inertia = _inertia(model, tree, links, hinge_pos, centres)
    ends, radius = [], []
    for k, link in enumerate(links):
        for geom in np.flatnonzero(model.geom_bodyid == link):
            axes = np.empty(9)
            mujoco.mju_quat2Mat(axes, model.geom_quat[geom])
            half = _xz(axes.reshape(3, 3)[:, 2]) * model.geom_size[geom][1]
            middle = _xz(model.geom_pos[geom]) - pivots[k]
            ends.append([middle - half, middle + half])
            radius.append(model.geom_size[geom][0])
    limited, limits = model.jnt_limited[hinges].astype(bool), model.jnt_range[hinges]
    parameters = BodyParameters(
        inertia,
        _tensor(hinge_pos),
        _tensor(np.where(limited, limits[:, 0], -np.inf)),
        _tensor(np.where(limited, limits[:, 1], np.inf)),
        _tensor(ends),
        _tensor(radius),
        _tensor(model.body_invweight0[links, 0] * mass.sum()),
        _tensor(-model.body_pos[links[0]][2]),
        _tensor(model.geom_friction[:2, 0].max()),
        _contact(0.02, *model.geom_solimp[1][:3]),
        _contact(0.02, *model.jnt_solimp[hinges[-1]][:3]),
    )
    capsule_links = tuple(k for k, number in enumerate(capsules_per_link) for _ in range(number))
    return PlanarBody(tree, capsule_links, bool(model.geom_conaffinity[1])), parameters


def _inertia(
    model: mujoco.MjModel,
    tree: KinematicTree,
    links: list[int],
    hinge_pos: np.ndarray,
    centres: np.ndarray,
) -> Inertia:
    count = len(links)
    lever = np.zeros((count, count), complex)  # of each link's centre of mass, by links
    for k in range(count):
        for parent, child in pairwise(tree.chain(k)):
            lever[k, parent] = complex(*hinge_pos[child])
        lever[k, k] = complex(*centres[k])
    mass, rotational = model.body_mass[links], np.zeros(count)
    for k, link in enumerate(links):
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, model.body_iquat[link])
        axes = axes.reshape(3, 3)
        rotational[k] = (axes @ np.diag(model.body_inertia[link]) @ axes.T)[1, 1]
    fraction = mass / mass.sum()
    h = fraction @ lever
    c = np.einsum("i,ik,il->kl", fraction, lever.conj(), lever)
    c = c + np.diag(rotational / mass.sum())
    dofs = [model.jnt_dofadr[model.joint(joint).id] for joint in tree.hinges]
    return Inertia(
        _tensor(np.stack([h.real, h.imag], -1)),
        _tensor(np.stack([c.real, c.imag], -1)),
        _tensor(model.dof_armature[dofs] / mass.sum()),
        _tensor(model.dof_damping[dofs] / mass.sum()),
        _tensor(-model.opt.gravity[2]),
    )


def _contact(*values: float) -> ContactParameters:
    return ContactParameters(*(_tensor(max(value, 1e-4)) for value in values))


def _xz(points: np.ndarray) -> np.ndarray:
    return points[..., [0, 2]]


def _tensor(values: object) -> Tensor:
    return torch.as_tensor(np.array(values, dtype=float))
