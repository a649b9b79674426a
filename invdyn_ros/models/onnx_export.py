"""Export of models to ONNX files, for `onnx`."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from invdyn_ros.config import describe_error, to_mapping
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.models.checkpoint_files import CHECKSUM_KEY, metadata_checksum
from invdyn_ros.models.export_parity import check_parity, random_motion
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.onnx import FORMAT, INPUT_NAMES, OUTPUT_NAMES, ONNXModel
from invdyn_ros.native_output import STDERR, STDOUT, suppress_native_output

OPSET = 20
TRACE_BATCH_SIZE = 2  # for tracing; the verification uses other sizes


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
