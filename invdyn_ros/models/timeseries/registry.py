"""Registry of time-series models, and their checkpoints."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from invdyn_ros.models.checkpoint import load_weights, write_checkpoint
from invdyn_ros.models.checkpoint_files import CheckpointType, read_metadata
from invdyn_ros.models.timeseries.bridge import Bridge
from invdyn_ros.models.timeseries.gru_dt import GruDt
from invdyn_ros.models.timeseries.identified_body import IdentifiedBody
from invdyn_ros.models.timeseries.latent_ode import LatentOde, OdeRnn, RnnVae
from invdyn_ros.models.timeseries.one_step import OneStep
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

TIME_SERIES = CheckpointType("time-series model", "invdyn_ros time-series model 1", "train")
TIME_SERIES_MODELS: dict[str, type[TimeSeriesModel]] = {
    "bridge": Bridge,
    "gru_dt": GruDt,
    "latent_ode": LatentOde,
    "identified_body": IdentifiedBody,
    "ode_rnn": OdeRnn,
    "one_step": OneStep,
    "rnn_vae": RnnVae,
}


def build_time_series_model(meta: TimeSeriesMetadata) -> TimeSeriesModel:
    """Build an untrained time-series model.

    Raises:
        ValueError: unknown family, or a config with unknown fields.
    """
    if meta.family not in TIME_SERIES_MODELS:
        raise ValueError(
            f"family is {meta.family!r}; time-series models are {', '.join(TIME_SERIES_MODELS)}"
        )
    return TIME_SERIES_MODELS[meta.family](meta)


def untrained_copy(model: TimeSeriesModel, seed: int = 0) -> TimeSeriesModel:
    """Return a model with the same buffers, such as scales, and fresh weights."""
    torch.manual_seed(seed)
    untrained = build_time_series_model(model.meta)
    buffers = dict(model.named_buffers())
    for name, values in untrained.named_buffers():
        values.copy_(buffers[name])
    return untrained.eval()


def save_time_series_model(model: TimeSeriesModel, directory: str | Path) -> None:
    """Write the checkpoint of a time-series model atomically."""
    write_checkpoint(model.state_dict(), model.meta, directory, TIME_SERIES)


def load_time_series_model(directory: str | Path) -> TimeSeriesModel:
    """Read a time-series model in evaluation mode.

    Raises:
        ValueError: no checkpoint, damaged or of another type.
    """
    meta, sha256 = read_metadata(TimeSeriesMetadata, directory, TIME_SERIES)
    return load_weights(
        partial(build_time_series_model, meta), directory, sha256, TIME_SERIES
    ).eval()
