"""Deep ensemble: mean, gradients and calibrated standard deviation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracle import excitation, robot

from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.windows import windows
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.ensemble import Ensemble, EnsembleConfig
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train

UR5 = robot("ur5")
SMALL = {"num_members": 3, "member_config": {"width": 16, "depth": 1}}
NOISE = 0.5


def ensemble() -> Ensemble:
    torch.manual_seed(0)
    meta = ModelMetadata(
        "ensemble", "ur5", UR5.joint_names, "N m", UR5.rate, 0.0, UR5.rigid_body_urdf(), SMALL
    )
    model = build(meta)
    assert isinstance(model, Ensemble)
    return model


def test_prediction_is_the_mean_of_the_members() -> None:
    model, data = ensemble(), windows([excitation(UR5, 0, seconds=1.0)]).to("cpu", torch.float32)
    means = torch.stack([m.predict(data.motion, data.time).mean for m in model.members])
    assert means.std(0).min() > 0
    torch.testing.assert_close(model.predict(data.motion, data.time).mean, means.mean(0))


def test_gradient_of_a_member_is_that_of_its_own_loss() -> None:
    model, data = ensemble(), windows([excitation(UR5, 0, seconds=1.0)]).to("cpu", torch.float32)
    model.standardise(data)
    model.loss(*data).backward()
    gradients = [p.grad.clone() for p in model.members[1].parameters()]
    model.zero_grad()
    (model.members[1].loss(*data) / SMALL["num_members"]).backward()
    for grad, parameter in zip(gradients, model.members[1].parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad)


def test_standard_deviation_is_calibrated_and_grows_away_from_the_data(tmp_path) -> None:
    noise = torch.Generator().manual_seed(0)
    parts = []
    for seed in range(12):
        part = excitation(UR5, seed, seconds=2.0)
        # a smooth function per joint, plus noise
        action = torch.sin(torch.as_tensor(part.position)) + 0.5 * torch.as_tensor(part.velocity)
        action += NOISE * torch.randn(action.shape, generator=noise, dtype=action.dtype)
        parts.append(replace(part, action=action.numpy()))
    write_dataset(tmp_path / "data", parts[:10], "ur5", UR5.rate)
    values = {"family": "ensemble", "action_delay": 0.0, "epochs": 15, "batch_size": 64} | SMALL
    train(parse_train_config(values, "test"), tmp_path / "data", tmp_path / "model")
    model, test = load(tmp_path / "model"), windows(parts[10:]).to("cpu", torch.float32)
    mean, std = model.predict(test.motion, test.time)
    assert std is not None
    z = ((test.action - mean) / std).abs()
    assert 0.55 < (z < 1).float().mean() < 0.8
    far = model.predict(test.motion + 10 * model.motion_std, test.time).std
    assert far is not None and far.mean() > 2 * std.mean()


def test_ensemble_of_one_or_of_ensembles_is_refused() -> None:
    with pytest.raises(ValueError, match="num_members is 1"):
        EnsembleConfig(num_members=1)
    with pytest.raises(ValueError, match="member_family is 'ensemble'"):
        EnsembleConfig(member_family="ensemble")
