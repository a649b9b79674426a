"""Optimizer steps: averaged weights, gradient clipping, sharded batches, scaled gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from oracle import robot

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.training.distributed import ProcessGroup
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig
from invdyn_ros.training.run_config import parse_train_config


def toy(**values: object) -> tuple[MLP, Optimizer, Windows]:
    torch.manual_seed(0)
    ur5 = robot("ur5")
    meta = ModelMetadata(
        "mlp", "ur5", ur5.joint_names, "N m", ur5.rate, 0.0, "", {"width": 8, "depth": 1}
    )
    model = MLP(meta)
    batch = Windows(torch.randn(20, 1, 18), torch.zeros(20, 1), torch.randn(20, 1, 6))
    config = OptimizerConfig(**{"learning_rate": 0.1} | values)
    return model, Optimizer(model.parameters(), config), batch


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_ema_weights_are_the_running_mean_of_the_steps() -> None:
    model, optimizer, batch = toy(ema_decay=0.5)
    mean = flat(model)
    for step in range(8):
        optimizer.step(partial(model.loss, *batch), global_step=step)
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * flat(model)
    trained = flat(model)
    with optimizer.ema_weights():
        torch.testing.assert_close(flat(model), mean)
    assert torch.equal(flat(model), trained) and not torch.allclose(trained, mean)


@pytest.mark.parametrize("max_grad_norm", [0.0, 1e-3, 1e6])
def test_gradients_are_clipped_to_the_maximum_norm(max_grad_norm: float) -> None:
    model, optimizer, batch = toy(max_grad_norm=max_grad_norm)
    model.loss(*batch).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    _, norm = optimizer.step(partial(model.loss, *batch))
    clipped = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert float(norm) == pytest.approx(float(gradient.norm()), rel=1e-5)
    expected = gradient * min(1.0, max_grad_norm / float(norm)) if max_grad_norm else gradient
    torch.testing.assert_close(clipped, expected, rtol=2e-3, atol=1e-9)


def test_gradients_of_the_shards_add_up_to_that_of_the_batch() -> None:
    model, _, batch = toy()
    expected = torch.autograd.grad(model.loss(*batch), list(model.parameters()))
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for rank in range(3):
        shard = ProcessGroup(rank, 3).shard(torch.arange(20))
        loss = model.loss(*batch.rows(shard)) * len(shard) / 20
        for total, value in zip(
            sums, torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            total += value
    torch.testing.assert_close(sums, list(expected))


def _scaled(optimizer: Optimizer) -> Optimizer:
    """Scale gradients as on a GPU with fp16, which a CPU can do as well."""
    optimizer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    return optimizer


def test_scaled_gradients_give_the_same_steps_and_survive_a_restart() -> None:
    prepare: Callable[[Optimizer], Optimizer]
    ends = []
    for prepare in (lambda optimizer: optimizer, _scaled):
        model, optimizer, batch = toy(ema_decay=0.5)
        prepare(optimizer)
        for step in range(3):
            optimizer.step(partial(model.loss, *batch), global_step=step)
        tensors = {name: value.clone() for name, value in optimizer.state_dict().items()}
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer.step(partial(model.loss, *batch), global_step=3)
        ends.append(flat(model))
        again, other, _ = toy(ema_decay=0.5)
        prepare(other)
        again.load_state_dict(weights)
        other.load_state_dict(tensors)
        other.step(partial(again.loss, *batch), global_step=3)
        assert torch.equal(flat(again), ends[-1])
        assert other.state_dict().keys() == optimizer.state_dict().keys()
        for name, value in optimizer.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_grad_norm": -1.0}, "max_grad_norm is -1.0; it must be greater than or equal to 0"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; it must be less than 1"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"amp": "int8"}, "amp is 'int8'; it must be 'none', 'bf16' or 'fp16'"),
    ],
)
def test_invalid_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_train_config({"family": "mlp"} | values, "test")
