"""Prediction of exported models with onnxruntime, without PyTorch.

A file has the inputs `motion` (B, n_obs_steps, 3n) and, if the family uses it, `time`
(B, n_obs_steps), in float64 and SI units, and the outputs `mean` (B, n_obs_steps, n) and, if the
family has one, `std`. Its metadata are those in the meta.json of a checkpoint, so one file is a
complete model.
"""

from __future__ import annotations

import hashlib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from invdyn_ros.config import describe_error, from_mapping, parse_json
from invdyn_ros.data.files import reading
from invdyn_ros.models.checkpoint_files import CHECKSUM_KEY, check_robot, metadata_checksum
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.plausibility import check_plausible
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

FORMAT = "invdyn_ros onnx 1"
INPUT_NAMES, OUTPUT_NAMES = ("motion", "time"), ("mean", "std")


class ONNXModel:
    """An exported model in onnxruntime, on one thread of the CPU."""

    def __init__(self, content: bytes, where: str | Path) -> None:
        """Create a session.

        Args:
            content: of a file that `export` wrote.
            where: name of the file in error messages.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, so they need not be printed
        try:
            with redirect_stdout(StringIO()):  # onnxruntime prints some errors before it raises
                self.session = onnxruntime.InferenceSession(
                    content, options, providers=["CPUExecutionProvider"]
                )
        except Exception as error:  # the common base of onnxruntime's error classes
            raise ValueError(
                f"{where} is damaged or no ONNX file ({describe_error(error)}); export it again"
            ) from error
        self.content = content
        with reading(where, "exported model", "export it again"):
            self.meta = _read_metadata(
                self.session.get_modelmeta().custom_metadata_map, content, where
            )
            inputs = {value.name: value for value in self.session.get_inputs()}
            self.n_obs_steps = int(inputs["motion"].shape[1])
        self._has_time_input = "time" in inputs

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions of motion (B, n_obs_steps, 3n) at times (B, n_obs_steps) [s]."""
        feed = {"motion": np.asarray(motion, float)}
        if self._has_time_input:
            feed["time"] = np.asarray(time, float)
        mean, *std = (np.asarray(output, float) for output in self.session.run(None, feed))
        return PredictedAction(mean, std[0] if std else None)


def load_onnx(path: str | Path, robot: Robot | None = None) -> ONNXModel:
    """Load a file that `export` wrote.

    Args:
        path: the file.
        robot: arm that the model must belong to; None: any.

    Raises:
        ValueError: no file, damaged, not written by `export`, or of another arm.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no file {path}; make one with 'invdyn export'")
    model = ONNXModel(path.read_bytes(), path)
    if robot is not None:
        check_robot(model.meta, robot, path)
    with reading(path, "exported model", "export it again"):
        check_plausible(model, path, robot)
    return model


def _read_metadata(values: dict[str, str], content: bytes, where: str | Path) -> ModelMetadata:
    """Read the metadata of a file and check its content against the sha256."""
    if values.get("format") != FORMAT:
        raise ValueError(
            f"{where} was not written by 'invdyn export', or by another version of it"
        )
    size = int(values["size"])
    if hashlib.sha256(content[:size]).hexdigest() != values["sha256"]:
        raise ValueError(f"{where} is damaged (sha256 differs); export it again")
    plain: dict[str, Any] = parse_json(values["meta"], str(where), "export it again")
    if metadata_checksum(plain) != values.get(CHECKSUM_KEY):
        raise ValueError(f"{where} is damaged ({CHECKSUM_KEY} differs); export it again")
    return from_mapping(ModelMetadata, plain, str(where))
