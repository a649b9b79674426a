"""Conversion of a plain network into a larger one that computes the same function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from invdyn_ros.models.enhanced import BASE_FAMILIES, Enhanced
from invdyn_ros.models.inverse_dynamics import InverseDynamics


def convert(model: InverseDynamics, **fields: Any) -> Enhanced:
    """Add an `Enhanced` network, with a last layer of zeros, on top of a model.

    Args:
        model: an MLP or a GRU; it is copied.
        **fields: of EnhancedConfig, all but `base`.

    Raises:
        ValueError: a family that cannot be converted, or an unknown field.
    """
    meta = model.meta
    if meta.family not in BASE_FAMILIES:
        raise ValueError(
            f"a '{meta.family}' cannot be converted; only {' and '.join(BASE_FAMILIES)} can"
        )
    base = {"family": meta.family, "config": dict(meta.config)}
    enhanced = Enhanced(replace(meta, family="enhanced", config=fields | {"base": base}))
    enhanced.get_submodule("base").load_state_dict(model.state_dict())
    for name, value in model.named_buffers(recurse=False):
        enhanced.get_buffer(name).copy_(value)
    return enhanced.to(model.motion_mean.device).train(model.training)
