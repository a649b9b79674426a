"""Export of models to ONNX, and prediction with onnxruntime.

A file has the inputs `motion` (B, n_obs_steps, 3n) and, if the family uses it, `time`
(B, n_obs_steps), in float64 and SI units, and the outputs `mean` (B, n_obs_steps, n) and, if the
family has one, `std`. Its metadata are those in the meta.json of a checkpoint, so one file is a
complete model.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from invdyn_ros.config import describe_error, from_mapping, parse_json, to_mapping
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.files import reading
from invdyn_ros.models.checkpoint import CHECKSUM_KEY, check_robot, metadata_checksum
from invdyn_ros.models.export_parity import check_parity, random_motion
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction
from invdyn_ros.models.plausibility import check_plausible
from invdyn_ros.native_output import STDERR, STDOUT, suppress_native_output
from invdyn_ros.robots.robot import Robot

FORMAT = "invdyn_ros onnx 1"
OPSET = 20
INPUT_NAMES, OUTPUT_NAMES = ("motion", "time"), ("mean", "std")
TRACE_BATCH_SIZE = 2  # for tracing; the verification uses other sizes


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

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions of motion (B, n_obs_steps, 3n) at times (B, n_obs_steps) [s]."""
        feed = {"motion": motion.double().numpy()}
        if self._has_time_input:
            feed["time"] = time.double().numpy()
        mean, *std = map(torch.from_numpy, self.session.run(None, feed))
        return Prediction(mean, std[0] if std else None)


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


def export(model: InverseDynamics, path: str | Path) -> float:
    """Write a model as ONNX, if its actions in onnxruntime equal those in eager torch.

    Args:
        model: on the CPU, in evaluation mode.
        path: file to write.

    Returns:
        The largest difference to eager torch, in standard deviations of the action.

    Raises:
        ValueError: the family cannot be exported, or the exported model gives other actions.
    """
    path = Path(path)
    exported, difference = export_and_verify(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, exported.content)
    return difference


def export_and_verify(model: InverseDynamics) -> tuple[ONNXModel, float]:
    """Return a model in onnxruntime and its difference to eager torch; raises as `export`."""
    what = f"family '{model.meta.family}' cannot be exported to ONNX"
    exported = ONNXModel(serialize(model), "the exported model")
    return exported, check_parity(model, exported, what)


def serialize(model: InverseDynamics) -> bytes:
    """Return the content of an ONNX file of a model, not yet verified.

    Raises:
        ValueError: the family has an operation that ONNX does not support.
    """
    import onnx

    graph, metadata = _export_graph(model), onnx.ModelProto()
    meta = to_mapping(model.meta)
    values = {
        "format": FORMAT,
        "size": str(len(graph)),
        "sha256": hashlib.sha256(graph).hexdigest(),
        "meta": json.dumps(meta),
        CHECKSUM_KEY: metadata_checksum(meta),
    }
    onnx.helper.set_model_props(metadata, values)
    return graph + metadata.SerializeToString()  # protobuf messages merge when concatenated


def _export_graph(model: InverseDynamics) -> bytes:
    """Return the graph by torch's exporter; raises as `serialize`."""
    motion, time = random_motion(model, TRACE_BATCH_SIZE)
    named = {name: {0: "batch"} for name in INPUT_NAMES + OUTPUT_NAMES}
    outputs = OUTPUT_NAMES if model.predict(motion, time).std is not None else OUTPUT_NAMES[:1]
    with (
        tempfile.TemporaryDirectory(prefix="invdyn_") as folder,
        warnings.catch_warnings(),
        suppress_native_output(STDOUT),  # on failure the exporter prints the whole graph
        suppress_native_output(STDERR),
    ):
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                _Outputs(model).eval(),
                (motion, time),
                file,
                dynamo=False,  # the dynamo exporter needs onnxscript and is slower
                opset_version=OPSET,
                input_names=list(INPUT_NAMES),
                output_names=list(outputs),
                dynamic_axes={name: named[name] for name in INPUT_NAMES + outputs},
            )
        except (RuntimeError, TypeError) as error:
            reason = describe_error(error)
            raise ValueError(
                f"family '{model.meta.family}' cannot be exported to ONNX: {reason}"
            ) from error
        return file.read_bytes()


class _Outputs(nn.Module):
    """Module to export: a tuple of tensors instead of a `Prediction`."""

    def __init__(self, model: InverseDynamics) -> None:
        super().__init__()
        self.model = model

    def forward(self, motion: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        return tuple(part for part in self.model.predict(motion, time) if part is not None)


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
