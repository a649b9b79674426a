"""Pruning by magnitude, and lottery tickets."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from invdyn_ros.benchmarks.lottery_ticket import latency_rows, ticket_curves
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.dense_network import DenseLayer, DenseNetwork
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.pruning import (
    magnitude_mask,
    prune,
    random_mask,
    remove_dead_units,
    sparsity_of,
)
from invdyn_ros.training.lottery_ticket import TICKET_KINDS, MotionTask, XorTask, find_tickets
from invdyn_ros.training.network_recorder import motion_samples
from invdyn_ros.training.trainer import TrainerConfig
from invdyn_ros.training.xor import XorConfig

JOINTS = ("shoulder_joint", "elbow_joint")


def random_network(seed, sizes=(3, 6, 5, 2)):
    generator = torch.Generator().manual_seed(seed)
    layers = [
        DenseLayer(
            f"layer {k}",
            torch.randn(units, inputs, generator=generator),
            torch.randn(units, generator=generator),
            "silu" if k < len(sizes) - 1 else "linear",
        )
        for k, (inputs, units) in enumerate(pairwise(sizes), 1)
    ]
    return DenseNetwork((), (), tuple(layers), ())


def last_values(network, values):
    for layer in network.layers:
        values = layer(values)
    return values


@pytest.mark.parametrize("seed", range(12))
def test_mask_removes_the_stated_fraction_of_the_smallest_weights(seed):
    low, high = (0.0, 1.0) if seed == 0 else np.sort(np.random.default_rng(seed).random(2))
    network = random_network(seed)
    mask = magnitude_mask(network, low)
    pairs = list(zip(network.layers, mask, strict=True))
    kept = torch.cat([layer.weight[m].abs() for layer, m in pairs])
    removed = torch.cat([layer.weight[~m].abs() for layer, m in pairs])
    assert len(removed) == round(low * (len(kept) + len(removed)))
    assert not len(removed) or not len(kept) or removed.max() <= kept.min()
    later = magnitude_mask(random_network(seed + 1), high, mask)
    assert all((~m | earlier).all() for m, earlier in zip(later, mask, strict=True))
    assert sparsity_of(later) == pytest.approx(round(high * 58) / 58)


def test_random_mask_keeps_as_many_weights_of_each_layer():
    mask = magnitude_mask(random_network(0), 0.7)
    other = random_mask(mask, torch.Generator().manual_seed(1))
    assert [int(m.sum()) for m in other] == [int(m.sum()) for m in mask]
    assert any((a != b).any() for a, b in zip(mask, other, strict=True))


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8, 0.95, 1.0])
def test_network_without_dead_units_has_the_same_outputs(sparsity):
    network = prune(random_network(3), magnitude_mask(random_network(3), sparsity))
    reduced = remove_dead_units(network)
    inputs = torch.randn(20, 3)
    torch.testing.assert_close(last_values(reduced, inputs), last_values(network, inputs))
    units = [len(layer.bias) for layer in reduced.layers]
    assert sum(units) < 13 if sparsity > 0.7 else units[-1] == 2


def motion_task():
    generator = torch.Generator().manual_seed(0)
    motion = torch.randn(400, 1, 6, generator=generator)
    action = torch.sin(motion[..., :2]) + 0.3 * motion[..., 4:]
    data = Windows(motion, torch.zeros(400, 1), action)
    meta = ModelMetadata("mlp", "arm", JOINTS, "N m", 125.0, 0.0, "", {"width": 8})
    config = TrainerConfig(epochs=6, batch_size=64, early_stopping_patience=6)
    task = MotionTask(meta, data, data.rows(slice(0, 100)), None, config)
    samples = motion_samples(task.first(0), data.rows(slice(100, 400)))
    return MotionTask(meta, data, data.rows(slice(0, 100)), samples, config)


TASKS = {"xor": XorTask(XorConfig(epochs=60)), "arm": motion_task()}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_tickets_start_from_the_first_weights_and_keep_their_zeros(task):
    first, tickets = task.first(5), list(find_tickets(task, 5, 2, 0.5))
    assert [t.kind for t in tickets] == ["ticket", *TICKET_KINDS, *TICKET_KINDS]
    for ticket in tickets:
        if ticket.history is None:
            continue
        start, end = ticket.history.network(0), ticket.history.network(-1)
        zeros = 0
        for begun, trained, initial in zip(start.layers, end.layers, first.layers, strict=True):
            kept = begun.weight != 0
            assert torch.equal(begun.weight, torch.where(kept, initial.weight.detach(), 0.0))
            assert torch.equal(begun.bias, initial.bias.detach())
            assert (trained.weight[~kept] == 0).all()
            zeros += int((~kept).sum())
        assert (end.layers[-1].bias != start.layers[-1].bias).any()
        count = sum(layer.weight.numel() for layer in first.layers)
        assert zeros == round(ticket.sparsity * count)
    errors = [ticket.error for ticket in tickets]
    assert all(np.isfinite(errors)) and [t.sparsity for t in tickets][-1] == pytest.approx(
        0.75, abs=0.01
    )
    rows = latency_rows("net", [t for t in tickets if t.history is not None])
    assert all(value >= 0 for row in rows.values() for value in row.values())
    curves = ticket_curves([tickets, tickets])
    assert set(curves) == set(TICKET_KINDS) and json.dumps(curves)
    assert all(curve["sparsity"][0] == 0 and len(curve["mean"]) == 3 for curve in curves.values())
