"""Families of inverse dynamics, by the name a config and a checkpoint give them."""

from __future__ import annotations

from invdyn_ros.models.cnn import CNN, VerbCNN
from invdyn_ros.models.enhanced import Enhanced
from invdyn_ros.models.ensemble import Ensemble
from invdyn_ros.models.flow import Flow
from invdyn_ros.models.gru import GRU
from invdyn_ros.models.hybrid import Hybrid
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction
from invdyn_ros.models.keypoint_motion import KeypointMotion
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.rigid_body import RigidBody

MODELS: dict[str, type[InverseDynamics]] = {
    "rigid_body": RigidBody,
    "hybrid": Hybrid,
    "mlp": MLP,
    "gru": GRU,
    "enhanced": Enhanced,
    "flow": Flow,
    "ensemble": Ensemble,
    "cnn": CNN,
    "cnn_verb": VerbCNN,
    "keypoints": KeypointMotion,
}
"""The simplest first, the one to take where data cannot tell them apart."""


def build(meta: ModelMetadata) -> InverseDynamics:
    """Make an untrained model of the family, arm and config in `meta`.

    Raises:
        ValueError: unknown family, or a field its config does not have.
    """
    if meta.family not in MODELS:
        raise ValueError(f"no model family {meta.family!r}; known are {', '.join(MODELS)}")
    return MODELS[meta.family](meta)


__all__ = ["MODELS", "InverseDynamics", "ModelMetadata", "Prediction", "build"]
