"""Latency of one prediction of each model.

Measured are the runtime of the live node, with and without the rest of the controller, the ONNX
export in onnxruntime, the C export, eager PyTorch, and MuJoCo's mj_inverse of the same arm.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import mujoco
import numpy as np
import torch
from pydantic import Field

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.c_speed import c_call_times
from invdyn_ros.benchmarks.report import Row, quantiles, ratios
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.models.checkpoint import load, select_device
from invdyn_ros.models.gravity import for_commands
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.onnx_export import export_and_verify
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot, package_file

BLOCK_LENGTH = 50  # calls of one method before those of the next
LIVE, EAGER = "live", "eager PyTorch"
UNTRAINED_ARM = "ur5"
SHIPPED_FAMILIES = ("rigid_body", "hybrid")  # as checkpoints
NUM_MOTIONS = 64  # different motions, so that no output is cached


@dataclass(frozen=True)
class ModelBenchmarkConfig(BenchmarkOptions):
    """Latency of one prediction, batch size 1, one thread: live, exported and in eager PyTorch."""

    checkpoint: tuple[Path, ...] = ()
    """Checkpoint folders; default: the shipped ones, and untrained models of other families."""
    calls: Annotated[int, Field(ge=2 * BLOCK_LENGTH)] = 2000
    """Timed calls per method."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device of eager PyTorch."""


def measure_model(config: ModelBenchmarkConfig) -> dict[str, Any]:
    """Return the report on every model.

    Raises:
        ValueError: no checkpoint, or an unreadable one.
    """
    if config.checkpoint:
        models = {path.name: load(path) for path in config.checkpoint}
    else:
        models = {path.name: load(path) for path in shipped_checkpoints()} | untrained_models()
    measurement = config.begin("model", "us")
    rows = measurement.rows
    ratio: dict[str, Row] = {}
    unexported: dict[str, str] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, model in models.items():
            calls, reason = _calls(model, config.device)
            measured = _time_alternating(calls, config.calls)
            rows |= {
                f"{name} ({model.meta.family}), {method}": row for method, row in measured.items()
            }
            ratio[f"{name}, {LIVE} to {EAGER}"] = ratios(
                measured[LIVE], measured[EAGER], ("p50", "p99")
            )
            if reason:
                unexported[name] = reason
            if type(model) is RigidBody and (times := c_call_times(model)):
                rows[f"{name} ({model.meta.family}), C"] = quantiles(times, (50, 95, 99))
    finally:
        torch.set_num_threads(threads)
    settings = {"calls": config.calls, "device": config.device, "batch": 1}
    return measurement.report(settings | {"not_exported": unexported}, ratio)


def shipped_checkpoints() -> list[Path]:
    """Return the folders of the shipped checkpoints.

    Raises:
        FileNotFoundError: there are none.
    """
    return sorted(file.parent for file in package_file("config/checkpoints").glob("*/meta.json"))


def untrained_models() -> dict[str, InverseDynamics]:
    """Return an untrained model of each family that is not shipped, which is just as fast."""
    robot = load_robot(UNTRAINED_ARM)
    configs: dict[str, tuple[str, dict[str, Any]]] = {
        f"untrained {family}": (family, {})
        for family, kind in MODELS.items()
        if family not in SHIPPED_FAMILIES and kind.input_type == "motion"
    }
    configs["untrained 4x512"] = ("mlp", {"width": 512, "depth": 4})
    arm = (
        robot.name,
        robot.joint_names,
        robot.action_unit,
        robot.rate,
        0.0,
        robot.rigid_body_urdf(),
    )
    return {
        name: build(ModelMetadata(family, *arm, fields)).eval()
        for name, (family, fields) in configs.items()
    }


def _calls(
    model: InverseDynamics, device: str
) -> tuple[dict[str, Callable[[int], object]], str | None]:
    """Return the calls to time, and the reason if the model cannot be exported."""
    robot = _robot_of(model)
    random = np.random.default_rng(0)
    n, n_obs_steps = robot.n, model.n_obs_steps
    scale = np.repeat([1.0, 1.0, 5.0], n)  # [rad, rad/s, rad/s2]
    motions = scale * random.uniform(-1, 1, (NUM_MOTIONS, 1, n_obs_steps, 3 * n))
    stamps = np.arange(1 - n_obs_steps, 1)[None] / robot.rate
    mj_model, data = robot.model(), mujoco.MjData(robot.model())
    rows = motions[:, 0, -1].reshape(NUM_MOTIONS, 3, n)
    live = for_commands(fastest_runtime(model))

    def inverse(i: int) -> None:
        data.qpos[:], data.qvel[:], data.qacc[:] = rows[i]
        mujoco.mj_inverse(mj_model, data)

    def tick(model: Runtime) -> Callable[[int], object]:
        controller = ArmController(robot, model, model.meta.action_unit, model.meta.action_delay)
        controller.engage(True)
        stamps = itertools.count()
        still = np.zeros(n)
        return lambda _: controller.update(
            MeasuredState(next(stamps) / robot.rate, robot.home, still)
        )

    calls: dict[str, Callable[[int], object]] = {
        LIVE: lambda i: live.predict(motions[i], stamps),
        f"{LIVE} whole tick": tick(live),
    }
    reason = None
    try:
        exported, _ = export_and_verify(model)
        calls["onnxruntime"] = lambda i: exported.predict(motions[i], stamps)
    except ValueError as error:
        reason = str(error)
    eager = copy.deepcopy(model).to(select_device(device))
    to_tensor = partial(torch.as_tensor, device=eager.motion_mean.device)
    eager_motions, eager_stamps = [to_tensor(motion) for motion in motions], to_tensor(stamps)
    calls[EAGER] = lambda i: eager.predict(eager_motions[i], eager_stamps).mean.cpu()
    calls[f"{EAGER} whole tick"] = tick(TorchPredictor(eager))
    return calls | {"mj_inverse": inverse}, reason


def _time_alternating(calls: Mapping[str, Callable[[int], object]], count: int) -> dict[str, Row]:
    """Time calls in alternating blocks [us]; the first block of each is a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for _ in range(count // BLOCK_LENGTH + 1):
            for name, call in calls.items():
                for i in range(BLOCK_LENGTH):
                    start = time.perf_counter_ns()
                    call(i % NUM_MOTIONS)
                    times[name].append((time.perf_counter_ns() - start) / 1e3)
    return {name: quantiles(values[BLOCK_LENGTH:], (50, 95, 99)) for name, values in times.items()}


def _robot_of(model: InverseDynamics) -> Robot:
    meta = model.meta
    if meta.robot in ROBOTS:
        return load_robot(meta.robot)
    with tempfile.TemporaryDirectory() as folder:  # the URDF is only in the checkpoint
        file = Path(folder) / f"{meta.robot}.urdf"
        file.write_text(meta.urdf, encoding="utf-8")
        robot = load_robot(meta.robot, file)
        robot.model()  # reads the file
        return robot
