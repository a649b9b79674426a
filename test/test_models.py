from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import SLOW, excitation, robot, setpoint
from torch import Tensor

from invdyn_ros.data.windows import Windows, windows
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.training.trainer import Trainer, TrainerConfig
from invdyn_ros.training.training_state import RunState


def meta(family: str, arm: str = "ur5", **config: object) -> ModelMetadata:
    r = robot(arm)
    if family == "rigid_body":
        config = {"coulomb_velocity": SLOW} | config
    return ModelMetadata(
        family, arm, r.joint_names, r.action_unit, r.rate, 0.0, r.rigid_body_urdf(), config
    )


def data(arm: str, *seeds: int, **options: object) -> Windows:
    return windows([excitation(robot(arm), seed, **options) for seed in seeds])  # type: ignore[arg-type]


WITH_URDF = {"rigid_body", "hybrid", "residual"}
MOTION_FAMILIES = [name for name, family in MODELS.items() if family.input_type == "motion"]


def fields_of(family: str) -> set[str]:
    return {field.name for field in fields(MODELS[family].Config)}


def unexplained_fraction(model: InverseDynamics, test: Windows) -> float:
    """Return the largest error of any joint, in standard deviations of its target."""
    error = (model.predict(test.motion, test.time).mean - test.action).flatten(0, 1)
    target = model.target(test.motion, test.action).flatten(0, 1)
    return float((error.square().mean(0) / target.var(0)).sqrt().max())


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_identification_recovers_torque_and_friction(arm: str) -> None:
    model = build(meta("rigid_body", arm))
    assert model.fit(data(arm, 0, 1, 2), data(arm, 3))
    assert unexplained_fraction(model, data(arm, 4, 5)) < 1e-6


def test_identification_recovers_inertia_that_differs_from_the_urdf() -> None:
    heavy = replace(meta("rigid_body"), urdf=meta("rigid_body").urdf.replace("8.393", "12.1"))
    assert heavy.urdf != meta("rigid_body").urdf
    model = build(heavy)
    nominal = unexplained_fraction(
        build(replace(heavy, config={"identify": False})), data("ur5", 4)
    )
    model.fit(data("ur5", 0, 1, 2), data("ur5", 3))
    assert unexplained_fraction(model, data("ur5", 4, 5)) < 1e-6 < 0.1 < nominal


def test_noise_in_training_is_averaged_out() -> None:
    train = data("ur5", 0, 1, 2)
    noise = torch.randn(train.action.shape, generator=torch.Generator().manual_seed(0))
    std = train.action.flatten(0, 1).std(0)
    noisy = train._replace(action=train.action + 0.05 * std * noise)
    model = build(meta("rigid_body"))
    model.fit(noisy, data("ur5", 3))
    assert unexplained_fraction(model, data("ur5", 4)) < 0.01


def test_servo_stiffness_and_lag_are_identified() -> None:
    options = {"unit": "rad", "action": setpoint}
    model = build(meta("rigid_body", "dofbot"))
    model.fit(data("dofbot", 0, 1, 2, **options), data("dofbot", 3, **options))
    assert unexplained_fraction(model, data("dofbot", 4, **options)) < 1e-3


def test_urdf_model_equals_the_inverse_dynamics_of_mujoco() -> None:
    model, r = build(meta("rigid_body", identify=False)), robot("ur5")
    q, qd, qdd = np.random.default_rng(0).normal(size=(3, 6))
    motion = torch.as_tensor(np.concatenate([q, qd, qdd]))[None, None]
    tau = model.predict(motion, torch.zeros(1, 1)).mean[0, 0].numpy()
    np.testing.assert_allclose(tau, r.inverse_dynamics(q, qd, qdd), atol=1e-9)


@pytest.mark.parametrize("family", MOTION_FAMILIES)
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


@pytest.mark.parametrize("family", MOTION_FAMILIES)
def test_targets_of_servos_are_offsets_and_predictions_setpoints(family: str) -> None:
    model = build(meta(family, "dofbot"))
    motion, action = torch.randn(4, 1, 15), torch.randn(4, 1, 5)
    torch.testing.assert_close(model.target(motion, action), action - motion[..., :5])
    torch.testing.assert_close(model.action(motion, model.target(motion, action)), action)


# the loss of a flow is of velocities; that of lagrangian has less weight where joints may stick
@pytest.mark.parametrize("family", sorted(set(MOTION_FAMILIES) - {"flow", "lagrangian"}))
def test_loss_is_the_mean_squared_error_in_units_of_variance(family: str) -> None:
    model, train = build(meta(family)).eval(), data("ur5", 0, seconds=1.0)
    train = train.to("cpu", model.dtype)
    model.standardise(train)
    error = (model.predict(train.motion, train.time).mean - train.action).flatten(0, 1)
    expected = (error / train.action.flatten(0, 1).std(0, correction=0)).square().mean()
    torch.testing.assert_close(model.loss(*train), expected, rtol=1e-3, atol=1e-6)


def perturbed_model(
    family: str, frames: int = 9, **config: object
) -> tuple[InverseDynamics, Windows]:
    """Return a model with perturbed weights, and motion with irregular sampling."""
    model, random = build(meta(family, **config)), torch.Generator().manual_seed(2)
    for value in model.parameters():
        value.data += 0.1 * torch.randn(value.shape, generator=random, dtype=value.dtype)
    motion = torch.randn(2, frames, 18, generator=random, dtype=model.dtype)
    step = 0.008 * (0.5 + torch.rand(2, frames, generator=random, dtype=torch.float64))
    return model, Windows(motion, step.cumsum(1), motion[..., :6])


FAMILIES_AND_N_OBS_STEPS = [
    (f, h) for f in MOTION_FAMILIES for h in (1, 4) if h == 1 or "n_obs_steps" in fields_of(f)
]


@pytest.mark.parametrize(("family", "n_obs_steps"), FAMILIES_AND_N_OBS_STEPS)
def test_long_sequence_is_predicted_like_training_windows(family: str, n_obs_steps: int) -> None:
    model, data = perturbed_model(
        family, **({"n_obs_steps": n_obs_steps} if n_obs_steps > 1 else {})
    )
    full, H = model.predict(data.motion, data.time).mean, model.n_obs_steps
    for end in range(1, 10):
        rows = slice(max(0, end - H), end)
        window = model.predict(data.motion[:, rows], data.time[:, rows]).mean
        torch.testing.assert_close(full[:, end - 1], window[:, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", MOTION_FAMILIES)
def test_predictions_do_not_depend_on_the_origin_of_time(family: str) -> None:
    model, data = perturbed_model(family)
    now, later = (model.predict(data.motion, data.time + t).mean for t in (0.0, 1.7e9))
    torch.testing.assert_close(now, later, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", MOTION_FAMILIES)
def test_predict_uses_evaluation_mode_and_restores_training_mode(family: str) -> None:
    model, data = perturbed_model(family)
    trained = model.eval().predict(data.motion, data.time).mean
    assert torch.equal(model.train().predict(data.motion, data.time).mean, trained)
    assert model.training


@pytest.mark.parametrize("family", MOTION_FAMILIES)
def test_loaded_checkpoint_predicts_like_the_saved_model(family: str, tmp_path: Path) -> None:
    model, data = perturbed_model(family)
    model.standardise(data)
    save(model, model.meta, tmp_path)
    for before, after in zip(
        model.predict(*data[:2]), load(tmp_path).predict(*data[:2]), strict=True
    ):
        assert before is after is None or torch.equal(before, after)


@pytest.mark.parametrize("family", MOTION_FAMILIES)
def test_samples_depend_on_seed_and_temperature(family: str) -> None:
    model, data = perturbed_model(family)

    def draw(seed: int, temperature: float = 1.0) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return model.sample(*data[:2], 3, temperature, random)

    assert draw(0).shape == (3, 2, 9, 6)
    assert torch.equal(draw(0), draw(0))
    assert torch.equal(draw(0, 0.0), draw(1, 0.0))
    std = model.predict(*data[:2]).std
    has_std = std is not None and bool(std.any())  # that of an untrained hybrid is zero
    assert torch.equal(draw(0), draw(1)) == (not has_std)
    for count, temperature in ((0, 1.0), (1, -0.1), (1, float("nan"))):
        with pytest.raises(
            ValueError, match=f"num_samples is {count} and temperature {temperature}"
        ):
            model.sample(*data[:2], count, temperature)


def toy(count: int, seed: int) -> Windows:
    """Return two frames of motion of a pendulum with friction, and its torque for each."""
    motion = torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(seed))
    q, qd, qdd = motion.split(1, dim=-1)
    return Windows(motion, torch.tensor([-0.01, 0.0]).repeat(count, 1), qdd + qd + torch.sin(q))


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(MOTION_FAMILIES) - WITH_URDF))
def test_family_learns_a_pendulum(family: str, tmp_path: Path) -> None:
    options = {"width": 64, "depth": 2}
    config = {name: options[name] for name in options.keys() & fields_of(family)}
    torch.manual_seed(0)
    model = build(ModelMetadata(family, "toy", ("joint",), "N m", 100.0, 0.0, "", config))
    train, test = toy(2000, 0), toy(500, 1)
    model.standardise(train)
    rate = 1e-2 if family == "lagrangian" else TrainerConfig().learning_rate
    optimizer = TrainerConfig(epochs=12, batch_size=64, learning_rate=rate)
    Trainer(model, train, toy(500, 2), optimizer, 0, RunState(tmp_path, {}, model.meta)).run()
    error = model.predict(*test[:2]).mean - test.action
    assert error.square().mean() / test.action.var() < 0.05


def test_unknown_family_or_field_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'delan'; known are rigid_body, hybrid, residual"):
        build(meta("delan"))
    with pytest.raises(ValueError, match="'widht'; MLPConfig has angles, periodic"):
        build(meta("mlp", widht=3))


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa", "dofbot"])
def test_unobservable_parameters_keep_the_urdf_values(arm: str) -> None:
    model = build(meta("rigid_body", arm))
    prior = model.tree.inertial.clone()
    model.fit(data(arm, 0, 1, seconds=2.0), data(arm, 2, seconds=2.0))
    # the first axis passes through its link's origin: the link's mass has no effect
    torch.testing.assert_close(model.tree.inertial[0, 0], prior[0, 0], rtol=0.02, atol=0)
    assert (model.tree.inertial - prior).abs().max() < 200 * prior.abs().max()
