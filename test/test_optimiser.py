"""One step of descent: averaged weights, short gradients, shares of a batch, scaled gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oracle import robot

from invdyn_ros.data.windows import Windows
from invdyn_ros.models import MLP, ModelMetadata
from invdyn_ros.training.distributed import ProcessGroup
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig
from invdyn_ros.training.train import parse_config


def toy(**values: object) -> tuple[MLP, Optimizer, Windows]:
    torch.manual_seed(0)
    ur5 = robot("ur5")
    meta = ModelMetadata(
        "mlp", "ur5", ur5.joint_names, "N m", ur5.rate, 0.0, "", {"width": 8, "depth": 1}
    )
    model = MLP(meta)
    batch = Windows(torch.randn(20, 1, 18), torch.zeros(20, 1), torch.randn(20, 1, 6))
    config = OptimizerConfig(**{"learning_rate": 0.1} | values)
    return model, Optimizer(model, config, ProcessGroup()), batch


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_averaged_weights_are_the_running_mean_of_the_steps() -> None:
    model, optimiser, batch = toy(ema=0.5)
    mean = flat(model)
    for number in range(8):
        optimiser.step(batch, 1.0, number)
        decay = min(0.5, (1 + number) / (10 + number))
        mean = decay * mean + (1 - decay) * flat(model)
    own = flat(model)
    with optimiser.averaged():
        torch.testing.assert_close(flat(model), mean)
    assert torch.equal(flat(model), own) and not torch.allclose(own, mean)


@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e6])
def test_long_gradients_are_shortened_to_the_limit(clip: float) -> None:
    model, optimiser, batch = toy(max_grad_norm=clip)
    model.loss(*batch).backward()
    whole = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    _, norm = optimiser.step(batch, 1.0, 0)
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert float(norm) == pytest.approx(float(whole.norm()), rel=1e-5)
    wanted = whole * min(1.0, clip / float(norm)) if clip else whole
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-9)


def test_shares_of_a_batch_make_up_its_loss_and_gradient() -> None:
    model, _, batch = toy()
    whole = torch.autograd.grad(model.loss(*batch), list(model.parameters()))
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for rank in range(3):
        mine = ProcessGroup(rank, 3).share(torch.arange(20))
        part = model.loss(*batch.rows(mine)) * len(mine) / 20
        for total, value in zip(
            sums, torch.autograd.grad(part, list(model.parameters())), strict=True
        ):
            total += value
    torch.testing.assert_close(sums, list(whole))


def _scaled(optimiser: Optimizer) -> Optimizer:
    """Scale gradients as on a GPU with fp16, which a CPU can do as well."""
    optimiser.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    return optimiser


def test_scaled_gradients_give_the_same_steps_and_survive_a_restart() -> None:
    prepare: Callable[[Optimizer], Optimizer]
    ends = []
    for prepare in (lambda optimiser: optimiser, _scaled):
        model, optimiser, batch = toy(ema=0.5)
        prepare(optimiser)
        for number in range(3):
            optimiser.step(batch, 1.0, number)
        tensors = {name: value.clone() for name, value in optimiser.tensors().items()}
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        optimiser.step(batch, 1.0, 3)
        ends.append(flat(model))
        again, other, _ = toy(ema=0.5)
        prepare(other)
        again.load_state_dict(weights)
        other.load(tensors)
        other.step(batch, 1.0, 3)
        assert torch.equal(flat(again), ends[-1])
        assert other.tensors().keys() == optimiser.tensors().keys()
        for name, value in optimiser.tensors().items():
            assert torch.equal(value, other.tensors()[name]), name
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_grad_norm": -1.0}, "max_grad_norm is -1.0; it must be greater than or equal to 0"),
        ({"ema": 1.0}, "ema is 1.0; it must be less than 1"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"amp": "int8"}, "amp is 'int8'; it must be 'none', 'bf16' or 'fp16'"),
    ],
)
def test_settings_that_cannot_train_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config({"family": "mlp"} | values, "test")
