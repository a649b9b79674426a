from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracle import robot
from torch import Tensor

from invdyn_ros.benchmarks.multimodal import nmse, sample_metrics, solenoid
from invdyn_ros.cli import convert as cli
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.flow import Flow
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.net2net import convert
from invdyn_ros.models.registry import build
from invdyn_ros.training.trainer import Trainer, TrainerConfig
from invdyn_ros.training.training_state import RunState

BASES = {"mlp": {"width": 32, "depth": 1}, "gru": {"width": 16, "depth": 1, "n_obs_steps": 3}}


def meta(family: str, unit: str = "N m", **config: object) -> ModelMetadata:
    return ModelMetadata(family, "toy", ("joint",), unit, 100.0, 0.0, "", config)


def windows(count: int, seed: int, frames: int = 1) -> Windows:
    """Return random motion at intervals of 5 to 15 ms; the action is a placeholder."""
    random = torch.Generator().manual_seed(seed)
    motion = torch.randn(count, frames, 3, generator=random)
    step = 0.005 + 0.01 * torch.rand(count, frames, generator=random)
    return Windows(motion, step.cumsum(1), motion[..., :1])


def fit_and_score(
    model: InverseDynamics, train: Windows, tmp_path: Path, epochs: int = 15, rate: float = 2e-3
) -> float:
    """Train a model and return the nMSE of the last frame on the training data."""
    model.standardise(train)
    optimizer = TrainerConfig(epochs=epochs, batch_size=64, learning_rate=rate)
    Trainer(model, train, train, optimizer, 0, RunState(tmp_path, {}, model.meta)).run()
    error = (model.predict(*train[:2]).mean - train.action)[:, -1]
    return float(error.square().mean() / train.action[:, -1].var())


@pytest.mark.parametrize("family", ["gru", "enhanced", "flow"])
def test_n_obs_steps_give_access_to_earlier_frames(family: str, tmp_path: Path) -> None:
    data = windows(1000, 0, frames=2)
    before = torch.roll(data.motion[..., :1], 1, dims=1)
    data = data._replace(action=before)
    small = {"width": 32} | ({"depth": 2, "dropout": 0.0} if family == "enhanced" else {})
    torch.manual_seed(0)
    assert fit_and_score(build(meta(family, n_obs_steps=2, **small)), data, tmp_path) < 0.3
    assert fit_and_score(build(meta("mlp", width=32)), data, tmp_path, epochs=5) > 0.7


def test_gru_uses_the_sample_interval(tmp_path: Path) -> None:
    data = windows(1000, 0, frames=2)
    step = torch.diff(data.time, dim=1)[..., None]  # depends on the time stamps only
    data = data._replace(action=torch.cat([torch.full_like(step, 0.01), step], dim=1))
    torch.manual_seed(0)
    assert fit_and_score(build(meta("gru", n_obs_steps=2, width=32)), data, tmp_path) < 0.1


@pytest.mark.parametrize("family", ["gru", "enhanced", "flow"])
def test_intervals_have_no_effect_after_training_on_regular_samples(
    family: str, tmp_path: Path
) -> None:
    regular = windows(200, 0, frames=3)
    regular = regular._replace(time=torch.arange(3).repeat(200, 1) / 100)
    model = build(meta(family, n_obs_steps=3, width=16))
    fit_and_score(model, regular, tmp_path, epochs=2)
    delayed = regular.time * 3.0
    torch.testing.assert_close(
        model.predict(regular.motion, delayed).mean, model.predict(*regular[:2]).mean
    )


@pytest.mark.parametrize("family", ["mlp", "enhanced", "flow"])
def test_penalty_keeps_the_inertia_of_a_network_positive(family: str, tmp_path: Path) -> None:
    """Learned from data in which more acceleration takes less action."""
    data = windows(200, 0)
    data = data._replace(action=-0.3 * data.motion[..., 2:])
    push, rising = torch.zeros(3), {}
    push[2] = 0.5
    small = {"dropout": 0.0, "width": 32} if family == "enhanced" else {}
    for weight in (0.0, 100.0):
        torch.manual_seed(0)
        model = build(meta(family, inertia_weight=weight, **small))
        (tmp_path / str(weight)).mkdir()
        fit_and_score(model, data, tmp_path / str(weight), epochs=20)
        still = model.predict(data.motion, data.time).mean
        pushed = model.predict(data.motion + push, data.time).mean
        rising[weight] = float((pushed > still)[:, -1].double().mean())
    assert rising[0.0] < 0.1 and rising[100.0] > 0.9


@pytest.mark.parametrize("family", ["mlp", "gru", "enhanced", "flow", "ensemble"])
def test_periodic_features_forget_whole_turns_and_friction_features_have_its_sign(
    family: str,
) -> None:
    features = {"periodic": True, "coulomb_velocity": 0.02}
    fields = {"member_config": features} if family == "ensemble" else features
    model, data = build(meta(family, **fields)).eval(), windows(8, 0)
    turned, slower = data.motion.clone(), data.motion.clone()
    turned[..., 0] += 2 * torch.pi
    predict = lambda motion: model.predict(motion, data.time).mean  # noqa: E731
    torch.testing.assert_close(predict(turned), predict(data.motion), rtol=1e-4, atol=1e-5)
    data.motion[..., 1], slower[..., 1] = 0.01, -0.01
    network = model.members[0] if family == "ensemble" else model
    change = network.features(data.motion) - network.features(slower)
    torch.testing.assert_close(change[..., -1], torch.full((8, 1), 2 * math.tanh(0.5)))


def test_features_of_a_prismatic_joint_are_not_periodic() -> None:
    urdf = (
        "<robot name='slide'><link name='a'/><link name='b'/><joint name='joint' "
        "type='prismatic'><parent link='a'/><child link='b'/><axis xyz='0 0 1'/></joint></robot>"
    )
    with pytest.raises(ValueError, match="joint 'joint' is prismatic; set periodic to false"):
        build(replace(meta("mlp", periodic=True), urdf=urdf))


@pytest.mark.parametrize("std_type", ["independent", "state"])
def test_standard_deviation_matches_the_noise(std_type: str, tmp_path: Path) -> None:
    train, random = windows(2000, 0), torch.Generator().manual_seed(1)
    wide = train.motion[..., 1:2] > 0
    noise = torch.where(wide, 0.5, 0.2) * torch.randn(wide.shape, generator=random)
    train = train._replace(action=train.motion[..., :1] + noise)
    torch.manual_seed(0)
    model = build(meta("enhanced", width=32, depth=2, dropout=0.0, std_type=std_type))
    fit_and_score(model, train, tmp_path, epochs=15, rate=1e-2)
    std = model.predict(*train[:2]).std
    assert std is not None
    estimated = [float(std[mask].mean()) for mask in (wide, ~wide)]
    mixed = (0.5 * (0.5**2 + 0.2**2)) ** 0.5
    expected = {"independent": [mixed, mixed], "state": [0.5, 0.2]}[std_type]
    assert estimated == pytest.approx(expected, rel=0.3)
    samples = model.sample(*train[:2], 50, 1.0, random) - model.predict(*train[:2]).mean
    assert float(samples[:, wide].std()) == pytest.approx(estimated[0], rel=0.1)
    assert torch.equal(model.sample(*train[:2], 1, 0.0)[0], model.predict(*train[:2]).mean)


def test_standard_deviation_stays_within_its_limits() -> None:
    model = build(meta("enhanced", width=8, depth=1, std_type="independent"))
    for value, limit in ((-50.0, -5.0), (50.0, 2.0)):
        torch.nn.init.constant_(model.get_parameter("log_std"), value)
        std = model.predict(*windows(4, 0)[:2]).std
        assert std is not None
        torch.testing.assert_close(std, torch.full_like(std, limit).exp())


def test_dropout_is_active_in_training_only() -> None:
    model, data = build(meta("enhanced", width=32, depth=2, dropout=0.5)).train(), windows(16, 0)
    assert not torch.equal(model.loss(*data), model.loss(*data))
    assert torch.equal(model.predict(*data[:2]).mean, model.predict(*data[:2]).mean)


def test_smoothness_penalises_the_second_derivative_in_training_only() -> None:
    data = windows(50, 0, frames=3)
    fields = {"width": 16, "depth": 1, "dropout": 0.0}
    torch.manual_seed(0)
    base_model = build(meta("enhanced", **fields)).train()
    smooth = build(meta("enhanced", **fields, smoothness_time=0.02)).train()
    smooth.load_state_dict(base_model.state_dict())
    y, t = base_model.predict(*data[:2]).mean[..., 0].T, data.time.T
    rate = [(y[k + 1] - y[k]) / (t[k + 1] - t[k]) for k in (0, 1)]
    second_derivative = (rate[1] - rate[0]) / (0.5 * (t[2] - t[0]))
    expected = base_model.loss(*data) + (0.02**2 * second_derivative).square().mean()
    torch.testing.assert_close(smooth.loss(*data), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(smooth.eval().loss(*data), base_model.loss(*data))
    assert (base_model.window_size, smooth.window_size, smooth.n_obs_steps) == (1, 3, 1)


def test_smoothness_smooths_actions_without_a_larger_error(tmp_path: Path) -> None:
    def sines(seed: int) -> Windows:
        """Return smooth motion of a pendulum with noise on the acceleration."""
        random = torch.Generator().manual_seed(seed)
        time = torch.arange(3) / 100
        w, phase = (
            3.0 + 3 * torch.rand(1500, 1, generator=random),
            6.28 * torch.rand(1500, 1, generator=random),
        )
        q, qd = torch.sin(w * time + phase), torch.cos(w * time + phase)
        noisy = -q + 0.3 * torch.randn(q.shape, generator=random)
        motion = torch.stack([q, qd, noisy], dim=-1)
        return Windows(motion, time.expand(1500, 3), (torch.sin(q) + 0.5 * qd - q)[..., None])

    train, test = sines(0), sines(1)
    error, second_derivative = [], []
    for smooth in (0.0, 0.01):
        torch.manual_seed(0)
        fields = {"width": 32, "depth": 2, "dropout": 0.0, "smoothness_time": smooth}
        model = build(meta("enhanced", **fields))
        fit_and_score(model, train, tmp_path, epochs=6)
        mean = model.predict(*test[:2]).mean
        error.append(float((mean - test.action).square().mean()))
        second_derivative.append(float(torch.diff(mean, 2, dim=1).square().mean()))
    assert error[1] < 1.1 * error[0]
    assert second_derivative[1] < 0.5 * second_derivative[0]


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("mlp", {"periodic": True, "angles": False}, "periodic is true and angles false"),
        ("gru", {"n_obs_steps": 0}, "n_obs_steps is 0; it must be greater than 0"),
        ("enhanced", {"dropout": 1.0}, "dropout is 1.0; it must be less than 1"),
        (
            "enhanced",
            {"smoothness_time": -1.0},
            "smoothness_time is -1.0; it must be greater than or equal to 0",
        ),
        ("enhanced", {"base": {"family": "flow", "config": {}}}, r"family \(mlp or gru\)"),
        (
            "flow",
            {"num_inference_steps": 101},
            "num_inference_steps is 101; it must be less than or equal to 100",
        ),
        ("flow", {"down_dims": []}, r"down_dims is \[\]; it must have at least 1 item"),
        ("flow", {"num_samples": 1}, "num_samples is 1; it must be greater than or equal to 2"),
    ],
)
def test_invalid_fields_are_refused(family: str, config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(meta(family, **config))


def base_model(family: str, unit: str = "N m") -> InverseDynamics:
    """Return a model whose tensors all differ from their initial values."""
    model = build(meta(family, unit, **BASES[family])).eval()
    random = torch.Generator().manual_seed(3)
    for value in model.state_dict().values():
        value += 0.3 * torch.rand(value.shape, generator=random)
    return model


@pytest.mark.parametrize("unit", ["N m", "rad"])
@pytest.mark.parametrize("family", BASES)
def test_converted_model_is_the_same_function(family: str, unit: str) -> None:
    model, data = base_model(family, unit), windows(20, 0, frames=7)
    for fields in ({}, {"std_type": "state"}, {"std_type": "independent", "n_obs_steps": 2}):
        converted = convert(model, width=32, **fields)
        assert converted.meta.family == "enhanced" and converted.n_obs_steps >= model.n_obs_steps
        before, after = (m.predict(*data[:2]).mean for m in (model, converted))
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", BASES)
def test_converted_model_continues_training(family: str, tmp_path: Path) -> None:
    model, data = base_model(family), windows(1000, 0, frames=3)
    data = data._replace(action=model.predict(*data[:2]).mean + torch.sin(data.motion[..., :1]))
    converted = convert(model, width=64, depth=2, dropout=0.0)
    before = converted.get_parameter(
        "base.head.0.weight" if family == "gru" else "base.net.0.weight"
    )
    before, start = before.detach().clone(), converted.predict(*data[:2]).mean
    converted.standardise(
        data
    )  # with other statistics than the base's: the function must not change
    torch.testing.assert_close(converted.predict(*data[:2]).mean, start, rtol=1e-5, atol=1e-5)
    first = converted.eval().loss(*data).detach()
    optimizer = TrainerConfig(epochs=5, batch_size=64)
    Trainer(converted, data, data, optimizer, 0, RunState(tmp_path, {}, converted.meta)).run()
    assert converted.eval().loss(*data) < 0.2 * first
    now = converted.get_parameter("base.head.0.weight" if family == "gru" else "base.net.0.weight")
    assert not torch.equal(before, now)  # the base is trained too


def test_command_converts_a_checkpoint(tmp_path: Path) -> None:
    model, data = base_model("gru"), windows(5, 0, frames=4)
    save(model, replace(model.meta, action_delay=0.01, data={"name": "toy"}), tmp_path / "gru")
    arguments = ["--checkpoint", str(tmp_path / "gru"), "--out", str(tmp_path / "enhanced")]
    assert cli.main([*arguments, "--width", "32", "--dropout", "0.2"]) == 0
    converted = load(tmp_path / "enhanced")
    assert (converted.meta.family, converted.meta.action_delay, converted.meta.data) == (
        "enhanced",
        0.01,
        {"name": "toy"},
    )
    assert converted.meta.config["width"] == 32
    actions = (m.predict(*data[:2]).mean for m in (load(tmp_path / "gru"), converted))
    torch.testing.assert_close(*actions, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="enhanced exists; give another"):
        cli.main(arguments)


def test_refused_conversion_writes_nothing(tmp_path: Path) -> None:
    r = robot("ur5")
    rigid = ModelMetadata(
        "rigid_body", "ur5", r.joint_names, "N m", 125.0, 0.0, r.rigid_body_urdf()
    )
    save(build(rigid), rigid, tmp_path / "rigid")
    arguments = ["--checkpoint", str(tmp_path / "rigid"), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="a 'rigid_body' cannot be converted; only mlp and gru"):
        cli.main(arguments)
    save(base_model("mlp"), base_model("mlp").meta, tmp_path / "mlp")
    arguments[1] = str(tmp_path / "mlp")
    with pytest.raises(ValueError, match="unknown field 'widht'"):
        cli.main([*arguments, "--widht", "3"])
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """Return a flow trained on motions that either of two currents causes."""
    torch.manual_seed(0)
    model = build(ModelMetadata("flow", "solenoid", ("joint",), "A", 100.0, 0.0, ""))
    random = torch.Generator().manual_seed(0)
    train, val = solenoid(6000, random), solenoid(1000, random)
    model.standardise(train)
    state = RunState(tmp_path_factory.mktemp("flow"), {}, model.meta)
    Trainer(model, train, val, TrainerConfig(epochs=25, batch_size=256), 0, state).run()
    assert isinstance(model, Flow)
    return model.eval()


@pytest.mark.slow
def test_flow_samples_both_modes_and_its_mean_lies_between(flow: Flow) -> None:
    test = solenoid(200, torch.Generator().manual_seed(5))
    samples = flow.sample(*test[:2], 40, 1.0, torch.Generator().manual_seed(0))
    estimated = sample_metrics(samples, test)
    assert estimated["near_mode"] > 90
    assert 35 < estimated["positive"] < 65
    mean, std = flow.predict(*test[:2])
    assert mean.abs().mean() < 0.1  # between the two
    assert std is not None
    torch.testing.assert_close(std, test.action.abs(), rtol=0.1, atol=0.1)
    for action in (mean, test.action, 0 * mean):
        assert nmse(action, test) > 1 - 1e-6  # no single action does better


def test_integration_converges_with_the_number_of_steps(flow: Flow) -> None:
    test = solenoid(200, torch.Generator().manual_seed(5))

    def draw(steps: int) -> Tensor:
        return flow.sample(
            *test[:2], 10, 1.0, torch.Generator().manual_seed(0), num_inference_steps=steps
        )

    errors = [float((draw(steps) - draw(64)).square().mean()) for steps in (1, 4, 16)]
    assert errors[0] > errors[1] > errors[2]
    for steps in (0, 101):
        with pytest.raises(ValueError, match=f"num_inference_steps is {steps}; it must be"):
            draw(steps)
