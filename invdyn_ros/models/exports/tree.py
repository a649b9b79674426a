"""Kinematic tree of a rigid-body model, with its identified inertia."""

from __future__ import annotations

from invdyn_ros.data.action_units import gravity_in
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.multibody_tree import MultibodyTree


def identified_tree(model: RigidBody) -> MultibodyTree:
    """Return the tree of the model's URDF with the inertial parameters of the model."""
    meta = model.meta
    tree = MultibodyTree.from_urdf(meta.urdf, meta.joint_names, gravity_in(meta.action_unit))
    return tree._replace(inertial=model.tree.inertial.double().cpu().numpy())
