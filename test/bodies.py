"""The true figures of the bodies that fall, read off MuJoCo: what identification must find."""

from __future__ import annotations

from itertools import pairwise

import mujoco
import numpy as np
import torch
from torch import Tensor

from invdyn_ros.config import load_yaml
from invdyn_ros.models.planar_body.contact_solver import ContactParameters
from invdyn_ros.models.planar_body.dynamics import Inertia, KinematicTree
from invdyn_ros.models.planar_body.simulator import BodyParameters, PlanarBody
from invdyn_ros.robots.robot import package_file
from invdyn_ros.sources.passive_rollouts import joint_names, load_body


def tree_of(name: str) -> tuple[KinematicTree, tuple[int, ...]]:
    """Return what hangs on what, as the shipped config says it, and the rods of each link."""
    fields = load_yaml(package_file(f"config/timeseries/{name}_identified_body.yaml"))
    names = ("hinges", "parents", "axis_signs")
    tree = KinematicTree(
        fields["x_joint"], fields["z_joint"], *(tuple(fields[key]) for key in names)
    )
    return tree, tuple(fields["capsules_per_link"])


def columns(name: str) -> list[int]:
    """Return where [across, up, hinges] stand among the joints of a body."""
    return tree_of(name)[0].joint_order(joint_names(load_body(name)))


def truth(name: str) -> tuple[PlanarBody, BodyParameters]:
    """Return a body and its figures, per mass of the whole."""
    model, (tree, rods) = load_body(name), tree_of(name)
    hinges = [model.joint(joint).id for joint in tree.hinges]
    links = [int(model.jnt_bodyid[k]) for k in hinges]
    count, mass = len(links), model.body_mass[links]
    pivots = _flat(model.jnt_pos[hinges])
    centres = _flat(model.body_ipos[links]) - pivots
    places = np.zeros((count, 2))
    for k, parent in enumerate(tree.parents):
        if parent >= 0:
            places[k] = _flat(model.body_pos[links[k]]) + pivots[k] - pivots[parent]
    inertia = _inertia(model, tree, links, places, centres)
    ends, radius = [], []
    for k, link in enumerate(links):
        for geom in np.flatnonzero(model.geom_bodyid == link):
            axis = np.empty(9)
            mujoco.mju_quat2Mat(axis, model.geom_quat[geom])
            half = _flat(axis.reshape(3, 3)[:, 2]) * model.geom_size[geom][1]
            middle = _flat(model.geom_pos[geom]) - pivots[k]
            ends.append([middle - half, middle + half])
            radius.append(model.geom_size[geom][0])
    limited, span = model.jnt_limited[hinges].astype(bool), model.jnt_range[hinges]
    figures = BodyParameters(
        inertia,
        _tensor(places),
        _tensor(np.where(limited, span[:, 0], -np.inf)),
        _tensor(np.where(limited, span[:, 1], np.inf)),
        _tensor(ends),
        _tensor(radius),
        _tensor(model.body_invweight0[links, 0] * mass.sum()),
        _tensor(-model.body_pos[links[0]][2]),
        _tensor(model.geom_friction[:2, 0].max()),
        _law(0.02, *model.geom_solimp[1][:3]),
        _law(0.02, *model.jnt_solimp[hinges[-1]][:3]),
    )
    owners = tuple(k for k, some in enumerate(rods) for _ in range(some))
    return PlanarBody(tree, owners, bool(model.geom_conaffinity[1])), figures


def _inertia(
    model: mujoco.MjModel,
    tree: KinematicTree,
    links: list[int],
    places: np.ndarray,
    centres: np.ndarray,
) -> Inertia:
    count = len(links)
    reach = np.zeros((count, count), complex)  # of each link's centre of mass, by links
    for k in range(count):
        path = tree.chain(k)
        for above, below in pairwise(path):
            reach[k, above] = complex(*places[below])
        reach[k, k] = complex(*centres[k])
    mass, turn = model.body_mass[links], np.zeros(count)
    for k, link in enumerate(links):
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, model.body_iquat[link])
        axes = axes.reshape(3, 3)
        turn[k] = (axes @ np.diag(model.body_inertia[link]) @ axes.T)[1, 1]
    share_of = mass / mass.sum()
    h = share_of @ reach
    c = np.einsum("i,ik,il->kl", share_of, reach.conj(), reach) + np.diag(turn / mass.sum())
    hinges = [model.jnt_dofadr[model.joint(joint).id] for joint in tree.hinges]
    return Inertia(
        _tensor(np.stack([h.real, h.imag], -1)),
        _tensor(np.stack([c.real, c.imag], -1)),
        _tensor(model.dof_armature[hinges] / mass.sum()),
        _tensor(model.dof_damping[hinges] / mass.sum()),
        _tensor(-model.opt.gravity[2]),
    )


def _law(*values: float) -> ContactParameters:
    time, shallow, deep, width = (_tensor(max(value, 1e-4)) for value in values)
    return ContactParameters(time, shallow, deep, width)


def _flat(places: np.ndarray) -> np.ndarray:
    return places[..., [0, 2]]


def _tensor(values: object) -> Tensor:
    return torch.as_tensor(np.array(values, dtype=float))
