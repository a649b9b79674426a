"""Families of inverse dynamics models, by their names in configs and checkpoints."""

from __future__ import annotations

from invdyn_ros.models.cnn import CNN, VerbCNN
from invdyn_ros.models.enhanced import Enhanced
from invdyn_ros.models.ensemble import Ensemble
from invdyn_ros.models.flow import Flow
from invdyn_ros.models.gru import GRU
from invdyn_ros.models.hybrid import Hybrid
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.keypoint_motion import KeypointMotion
from invdyn_ros.models.lagrangian import Lagrangian
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.residual_network import ResidualNetwork
from invdyn_ros.models.rigid_body import RigidBody

MODELS: dict[str, type[InverseDynamics]] = {
    "rigid_body": RigidBody,
    "hybrid": Hybrid,
    "residual": ResidualNetwork,
    "lagrangian": Lagrangian,
    "mlp": MLP,
    "gru": GRU,
    "enhanced": Enhanced,
    "flow": Flow,
    "ensemble": Ensemble,
    "cnn": CNN,
    "cnn_verb": VerbCNN,
    "keypoints": KeypointMotion,
}
"""From the simplest to the most complex; ties in a comparison go to the simpler one."""


def build(meta: ModelMetadata) -> InverseDynamics:
    """Build an untrained model of the family, arm and config in `meta`.

    Raises:
        ValueError: unknown family, or a field that its config does not have.
    """
    if meta.family not in MODELS:
        raise ValueError(f"no model family {meta.family!r}; known are {', '.join(MODELS)}")
    return MODELS[meta.family](meta)
