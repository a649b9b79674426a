"""Error and latency of lottery tickets against sparsity, for exclusive or and for an arm.

Dense kernels multiply zeros as fast as other numbers, so latency is measured three ways: with the
zeros, with compressed sparse rows, and with the units removed that no link needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from scipy.sparse import csr_matrix

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.config import FractionBelowOne
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import windows
from invdyn_ros.evaluation.pages.network import write_network_page
from invdyn_ros.models.dense_network import DenseNetwork
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.network_history import NetworkHistory, Samples
from invdyn_ros.models.pruning import remove_dead_units
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.training.action_delay import estimate_action_delay
from invdyn_ros.training.data_preparation import (
    SplitConfig,
    check_joints,
    split_train_val_test,
    with_acceleration,
)
from invdyn_ros.training.lottery_ticket import (
    MotionTask,
    Ticket,
    TicketTask,
    XorTask,
    find_tickets,
)
from invdyn_ros.training.trainer import TrainerConfig
from invdyn_ros.training.xor import XorConfig
from invdyn_ros.workers import WorkerOptions, parallel_map

MAX_TEST_SAMPLES = 2000
LATENCY_CALLS = 2000
TOLERANCE = 1.5  # a ticket is as good as the dense network up to this ratio of their errors,
SMALL_ERROR = 0.1  # [%] or if its error is below this
NUMPY_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "linear": lambda x: x,
}


@dataclass(frozen=True)
class LotteryTicketBenchmarkConfig(BenchmarkOptions, WorkerOptions):
    """Error and latency of lottery tickets against sparsity."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    data: Path | None = None
    """Dataset folder; default: the arm is simulated."""
    minutes: PositiveFloat = 10.0
    """Duration of the simulation [min]."""
    seeds: PositiveInt = 3
    """Number of random first weights; the interval is their range."""
    rounds: PositiveInt = 5
    """Rounds of pruning."""
    rate: FractionBelowOne = 0.5
    """Fraction of the remaining weights that a round removes."""
    width: PositiveInt = 64
    """Units of each of the two hidden layers of the arm's network."""
    epochs: PositiveInt = 20
    """Passes over the data of the arm."""
    xor_epochs: PositiveInt = 6000
    """Steps of the network that learns exclusive or."""


def measure_lottery_ticket(config: LotteryTicketBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and write the pages if there is a report file.

    Raises:
        ValueError: invalid data.
    """
    unit = "error: % of the variance; latency: us, p50; against weights removed"
    measured = config.begin("lottery_ticket", unit)
    tasks: dict[str, TicketTask] = {
        "xor": XorTask(XorConfig(epochs=config.xor_epochs)),
        config.arm: _arm_task(config),
    }
    jobs = [
        (task, seed, config.rounds, config.rate)
        for task in tasks.values()
        for seed in range(config.seeds)
    ]
    results: list[list[Ticket]] = []
    measured.so_far = lambda: _report(config, measured, list(tasks), results)
    with config.executor() as executor:
        for tickets in parallel_map(_run, jobs, executor):
            results.append(tickets)
    return measured.so_far()


def _report(
    config: LotteryTicketBenchmarkConfig,
    measured: Measurement,
    names: Sequence[str],
    results: Sequence[Sequence[Ticket]],
) -> dict[str, Any]:
    """Return the report on the results of the first jobs, and write the pages of their tasks."""
    curves: dict[str, Any] = {}
    for k, name in enumerate(names):
        runs = results[k * config.seeds : (k + 1) * config.seeds]
        if not runs:
            break
        curves[name] = ticket_curves(runs)
        tickets = [t for t in runs[0] if t.history is not None]
        measured.rows |= _error_rows(name, curves[name]) | latency_rows(name, tickets)
        if config.report is not None:
            file = config.report.with_name(f"{config.report.stem}_{name}.html")
            _write_page(file, name, tickets, curves[name])
    return measured.report(curves=curves)


def ticket_curves(runs: Sequence[Sequence[Ticket]]) -> dict[str, dict[str, list[float]]]:
    """Return kind -> sparsity, mean, low and high error over the seeds, all in %.

    Args:
        runs: for each seed its tickets, in the same order.
    """
    dense = [100 * run[0].error for run in runs]
    curves: dict[str, dict[str, list[float]]] = {}
    for same in zip(*runs, strict=True):
        errors = [100 * ticket.error for ticket in same]
        kind, sparsity = same[0].kind, 100 * same[0].sparsity
        empty: dict[str, list[float]] = {"sparsity": [], "mean": [], "low": [], "high": []}
        curve = curves.setdefault(kind, empty)
        if not curve["sparsity"] and sparsity > 0:  # every curve starts at the dense network
            _append(curve, 0.0, dense)
        _append(curve, sparsity, errors)
    return curves


def latency_rows(name: str, tickets: Sequence[Ticket]) -> dict[str, Row]:
    """Return the median latency [us] of one prediction with NumPy, one thread, and the units left.

    Args:
        name: of the network.
        tickets: those with a history.
    """
    rows: dict[str, Row] = {}
    for ticket in tickets:
        assert ticket.history is not None
        network, column = ticket.history.network(-1), _column(100 * ticket.sparsity)
        reduced = remove_dead_units(network)
        calls = {
            "with zeros": _numpy_network(network, np.asarray),
            "sparse rows": _numpy_network(network, csr_matrix),
            "units removed": _numpy_network(reduced, np.asarray),
        }
        features = np.ones(len(network.features), np.float32)
        for kind, latency in _latencies(calls, features).items():
            rows.setdefault(f"{name} latency, {kind}", {})[column] = latency
        units = sum(len(layer.bias) for layer in reduced.layers[:-1])
        rows.setdefault(f"{name} hidden units left", {})[column] = units
    return rows


def _run(job: tuple[TicketTask, int, int, float]) -> list[Ticket]:
    return list(find_tickets(*job))


def _arm_task(config: LotteryTicketBenchmarkConfig) -> MotionTask:
    """Return the task of the arm's inverse dynamics."""
    robot = load_robot(config.arm)
    trajectories = with_acceleration(_trajectories(config, robot))
    outer, inner = split_train_val_test(trajectories, SplitConfig(0.2, 0))
    meta = ModelMetadata(
        "mlp",
        robot.name,
        robot.joint_names,
        trajectories[0].action_unit,
        robot.rate,
        0.0,
        robot.rigid_body_urdf(),
        {"width": config.width},
    )
    delay = estimate_action_delay(meta, inner)
    meta = replace(meta, action_delay=delay)
    train, val, test = (
        windows(part, 1, delay, torch.float32) for part in (inner.train, inner.test, outer.test)
    )
    index = torch.linspace(0, test.size - 1, min(MAX_TEST_SAMPLES, test.size)).round().long()
    motion, _, action = (values[index, 0].double().numpy() for values in test)
    samples = Samples(motion, action, "test trajectories")
    trainer = TrainerConfig(epochs=config.epochs, early_stopping_patience=config.epochs)
    return MotionTask(meta, train, val, samples, trainer)


def _trajectories(config: LotteryTicketBenchmarkConfig, robot: Robot) -> list[Trajectory]:
    if config.data is None:
        excitation = ExcitationConfig(minutes=config.minutes)
        with config.executor() as executor:
            return list(simulate(robot, excitation, executor=executor))
    dataset = read_dataset(config.data)
    check_joints(dataset, robot, config.data)
    return list(dataset.trajectories)


def _append(curve: dict[str, list[float]], sparsity: float, errors: Sequence[float]) -> None:
    values = (sparsity, float(np.mean(errors)), min(errors), max(errors))
    for key, value in zip(("sparsity", "mean", "low", "high"), values, strict=True):
        curve[key].append(float(value))


def _column(sparsity: float) -> str:
    return f"{sparsity:.3g}%"


def _error_rows(name: str, curves: Mapping[str, Any]) -> dict[str, Row]:
    return {
        f"{name} error, {kind}": {
            _column(s): error for s, error in zip(curve["sparsity"], curve["mean"], strict=True)
        }
        for kind, curve in curves.items()
    }


def _numpy_network(
    network: DenseNetwork, matrix: Callable[[np.ndarray], Any]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the last layer's values as a function of the features, with matrices of a type."""
    layers = [
        (matrix(layer.weight.numpy()), layer.bias.numpy(), NUMPY_ACTIVATIONS[layer.activation])
        for layer in network.layers
    ]

    def call(values: np.ndarray) -> np.ndarray:
        for weight, bias, activation in layers:
            values = activation(weight @ values + bias)
        return values

    return call


def _latencies(
    calls: Mapping[str, Callable[[np.ndarray], np.ndarray]], features: np.ndarray
) -> Row:
    """Return the median time [us] of each function, called in turn."""
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(LATENCY_CALLS):
        for kind, call in calls.items():
            start = time.perf_counter()
            call(features)
            times[kind].append(1e6 * (time.perf_counter() - start))
    return {kind: round(float(np.median(values)), 2) for kind, values in times.items()}


def _write_page(
    file: Path, name: str, tickets: Sequence[Ticket], curves: Mapping[str, Any]
) -> None:
    """Write the page of the dense network and of the sparsest ticket that is as good."""
    series = [
        {
            "name": kind,
            "x": curve["sparsity"],
            "y": curve["mean"],
            "band": {"lower": curve["low"], "upper": curve["high"]},
        }
        for kind, curve in curves.items()
    ]
    errors = curves["ticket"]["mean"]
    best = max(
        k for k, error in enumerate(errors) if error <= max(TOLERANCE * errors[0], SMALL_ERROR)
    )
    histories: list[NetworkHistory] = []
    for title, ticket in (
        ("dense", tickets[0]),
        (f"ticket, {100 * tickets[best].sparsity:.3g}% removed", tickets[best]),
    ):
        assert ticket.history is not None
        histories.append(replace(ticket.history, title=title))
    write_network_page(file, histories, series, f"Lottery tickets: {name}")
