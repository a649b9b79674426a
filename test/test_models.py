from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import exciting, robot, setpoint
from torch import Tensor

from invdyn_ros.data.windows import Windows, windows
from invdyn_ros.models import MODELS, InverseDynamics, ModelMetadata, build
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.training.optimizer import OptimizerConfig
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import RunState


def meta(family: str, arm: str = "ur5", **config: object) -> ModelMetadata:
    r = robot(arm)
    return ModelMetadata(family, arm, r.joint_names, r.action_unit, r.rate, 0.0, r.xml(), config)


def data(arm: str, *seeds: int, **how: object) -> Windows:
    return windows([exciting(robot(arm), seed, **how) for seed in seeds])  # type: ignore[arg-type]


OF_MOTION = [name for name, family in MODELS.items() if family.input_type == "motion"]


def fields_of(family: str) -> set[str]:
    return {field.name for field in fields(MODELS[family].Config)}


def share_left(model: InverseDynamics, test: Windows) -> float:
    """Return the largest error of any joint, as a share of its action's spread."""
    error = (model.predict(test.motion, test.time).mean - test.action).flatten(0, 1)
    target = model.target(test.motion, test.action).flatten(0, 1)
    return float((error.square().mean(0) / target.var(0)).sqrt().max())


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_identification_recovers_torque_and_friction(arm: str) -> None:
    model = build(meta("rigid_body", arm))
    assert model.fit(data(arm, 0, 1, 2), data(arm, 3))
    assert share_left(model, data(arm, 4, 5)) < 1e-6


def test_identification_finds_inertia_that_is_not_the_urdfs() -> None:
    heavy = replace(meta("rigid_body"), urdf=meta("rigid_body").urdf.replace("8.393", "12.1"))
    assert heavy.urdf != meta("rigid_body").urdf
    model = build(heavy)
    believed = share_left(build(replace(heavy, config={"identify": False})), data("ur5", 4))
    model.fit(data("ur5", 0, 1, 2), data("ur5", 3))
    assert share_left(model, data("ur5", 4, 5)) < 1e-6 < 0.1 < believed


def test_noise_in_training_is_averaged_out() -> None:
    train = data("ur5", 0, 1, 2)
    noise = torch.randn(train.action.shape, generator=torch.Generator().manual_seed(0))
    spread = train.action.flatten(0, 1).std(0)
    noisy = train._replace(action=train.action + 0.05 * spread * noise)
    model = build(meta("rigid_body"))
    model.fit(noisy, data("ur5", 3))
    assert share_left(model, data("ur5", 4)) < 0.01


def test_servo_stiffness_and_lag_are_identified() -> None:
    how = {"unit": "rad", "law": setpoint}
    model = build(meta("rigid_body", "dofbot"))
    model.fit(data("dofbot", 0, 1, 2, **how), data("dofbot", 3, **how))
    assert share_left(model, data("dofbot", 4, **how)) < 1e-3


def test_urdf_model_is_mujocos_inverse_dynamics() -> None:
    model, r = build(meta("rigid_body", identify=False)), robot("ur5")
    q, qd, qdd = np.random.default_rng(0).normal(size=(3, 6))
    motion = torch.as_tensor(np.concatenate([q, qd, qdd]))[None, None]
    tau = model.predict(motion, torch.zeros(1, 1)).mean[0, 0].numpy()
    np.testing.assert_allclose(tau, r.inverse_dynamics(q, qd, qdd), atol=1e-9)


@pytest.mark.parametrize("family", OF_MOTION)
def test_families_are_causal(family: str) -> None:
    model = build(meta(family)).eval()
    motion = torch.randn(2, 8, 18, generator=torch.Generator().manual_seed(0), dtype=model.dtype)
    stamps = torch.arange(8, dtype=model.dtype).expand(2, 8) / 125
    later = motion.clone()
    later[:, 5:] += 1.0
    before, after = model.predict(motion, stamps).mean, model.predict(later, stamps).mean
    assert before.shape == (2, 8, 6)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("family", OF_MOTION)
def test_targets_of_servos_are_offsets_and_predictions_setpoints(family: str) -> None:
    model = build(meta(family, "dofbot"))
    motion, action = torch.randn(4, 1, 15), torch.randn(4, 1, 5)
    torch.testing.assert_close(model.target(motion, action), action - motion[..., :5])
    torch.testing.assert_close(model.action(motion, model.target(motion, action)), action)


# a flow learns velocities, so its loss says nothing about the error of its mean
@pytest.mark.parametrize("family", sorted(set(OF_MOTION) - {"flow"}))
def test_loss_is_the_share_of_variance_a_prediction_leaves(family: str) -> None:
    model, train = build(meta(family)).eval(), data("ur5", 0, seconds=1.0)
    train = train.to("cpu", model.dtype)
    model.standardise(train)
    error = (model.predict(train.motion, train.time).mean - train.action).flatten(0, 1)
    wanted = (error / train.action.flatten(0, 1).std(0, correction=0)).square().mean()
    torch.testing.assert_close(model.loss(*train), wanted, rtol=1e-3, atol=1e-6)


def moved(family: str, frames: int = 9, **config: object) -> tuple[InverseDynamics, Windows]:
    """A model whose every weight counts, and motion with irregular stamps."""
    model, random = build(meta(family, **config)), torch.Generator().manual_seed(2)
    for value in model.parameters():
        value.data += 0.1 * torch.randn(value.shape, generator=random, dtype=value.dtype)
    motion = torch.randn(2, frames, 18, generator=random, dtype=model.dtype)
    step = 0.008 * (0.5 + torch.rand(2, frames, generator=random, dtype=torch.float64))
    return model, Windows(motion, step.cumsum(1), motion[..., :6])


HISTORIES = [(f, h) for f in OF_MOTION for h in (1, 4) if h == 1 or "n_obs_steps" in fields_of(f)]


@pytest.mark.parametrize(("family", "history"), HISTORIES)
def test_long_sequence_is_predicted_like_the_windows_of_training(
    family: str, history: int
) -> None:
    model, data = moved(family, **({"n_obs_steps": history} if history > 1 else {}))
    whole, H = model.predict(data.motion, data.time).mean, model.n_obs_steps
    for end in range(1, 10):
        rows = slice(max(0, end - H), end)
        window = model.predict(data.motion[:, rows], data.time[:, rows]).mean
        torch.testing.assert_close(whole[:, end - 1], window[:, -1])


@pytest.mark.parametrize("family", OF_MOTION)
def test_stamps_since_1970_are_as_good_as_from_zero(family: str) -> None:
    model, data = moved(family)
    now, later = (model.predict(data.motion, data.time + t).mean for t in (0.0, 1.7e9))
    torch.testing.assert_close(now, later, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", OF_MOTION)
def test_prediction_is_the_same_in_training_and_leaves_it_on(family: str) -> None:
    model, data = moved(family)
    trained = model.eval().predict(data.motion, data.time).mean
    assert torch.equal(model.train().predict(data.motion, data.time).mean, trained)
    assert model.training


@pytest.mark.parametrize("family", OF_MOTION)
def test_saved_family_predicts_the_same_with_nothing_beside_it(
    family: str, tmp_path: Path
) -> None:
    model, data = moved(family)
    model.standardise(data)
    save(model, model.meta, tmp_path)
    for before, after in zip(
        model.predict(*data[:2]), load(tmp_path).predict(*data[:2]), strict=True
    ):
        assert before is after is None or torch.equal(before, after)


@pytest.mark.parametrize("family", OF_MOTION)
def test_samples_follow_their_seed_and_their_temperature(family: str) -> None:
    model, data = moved(family)

    def draw(seed: int, temperature: float = 1.0) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return model.sample(*data[:2], 3, temperature, random)

    assert draw(0).shape == (3, 2, 9, 6)
    assert torch.equal(draw(0), draw(0))
    assert torch.equal(draw(0, 0.0), draw(1, 0.0))
    std = model.predict(*data[:2]).std
    spread = std is not None and bool(std.any())  # an untrained hybrid knows no doubt
    assert torch.equal(draw(0), draw(1)) == (not spread)
    for count, temperature in ((0, 1.0), (1, -0.1), (1, float("nan"))):
        with pytest.raises(ValueError, match=f"count is {count} and temperature {temperature}"):
            model.sample(*data[:2], count, temperature)


def toy(count: int, seed: int) -> Windows:
    """Two frames of motion and what a pendulum with friction needs for each."""
    motion = torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(seed))
    q, qd, qdd = motion.split(1, dim=-1)
    return Windows(motion, torch.tensor([-0.01, 0.0]).repeat(count, 1), qdd + qd + torch.sin(q))


@pytest.mark.parametrize("family", sorted(set(OF_MOTION) - {"rigid_body", "hybrid"}))
def test_family_learns_a_pendulum(family: str, tmp_path: Path) -> None:
    how = {"width": 64, "depth": 2}
    config = {name: how[name] for name in how.keys() & fields_of(family)}
    torch.manual_seed(0)
    model = build(ModelMetadata(family, "toy", ("joint",), "N m", 100.0, 0.0, "", config))
    learn, test = toy(2000, 0), toy(500, 1)
    model.standardise(learn)
    descent = OptimizerConfig(epochs=12, batch_size=64)
    Trainer(model, learn, toy(500, 2), descent, 0, RunState(tmp_path, {}, model.meta)).run()
    error = model.predict(*test[:2]).mean - test.action
    assert error.square().mean() / test.action.var() < 0.05


def test_unknown_family_and_field_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'delan'; known are rigid_body, hybrid, mlp"):
        build(meta("delan"))
    with pytest.raises(ValueError, match="'widht'; MlpConfig has width, depth"):
        build(meta("mlp", widht=3))


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa", "dofbot"])
def test_parameters_that_no_torque_shows_stay_at_the_urdfs(arm: str) -> None:
    model = build(meta("rigid_body", arm))
    prior = model.tree.inertial.clone()
    model.fit(data(arm, 0, 1, seconds=2.0), data(arm, 2, seconds=2.0))
    # the first joint turns about a line through its own origin: its link's mass moves nothing
    assert torch.equal(model.tree.inertial[0, 0], prior[0, 0])
    assert (model.tree.inertial - prior).abs().max() < 100 * prior.abs().max()
