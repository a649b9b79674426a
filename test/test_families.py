from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracle import robot
from torch import Tensor

from invdyn_ros.benchmarks.multimodal import nmse, sample_metrics, solenoid
from invdyn_ros.cli import convert as cli
from invdyn_ros.data.windows import Windows
from invdyn_ros.models import InverseDynamics, ModelMetadata, build
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.flow import Flow
from invdyn_ros.models.net2net import convert
from invdyn_ros.training.optimizer import OptimizerConfig
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import RunState

PLAIN = {"mlp": {"width": 32, "depth": 1}, "gru": {"width": 16, "depth": 1, "n_obs_steps": 3}}


def meta(family: str, unit: str = "N m", **config: object) -> ModelMetadata:
    return ModelMetadata(family, "toy", ("joint",), unit, 100.0, 0.0, "", config)


def windows(count: int, seed: int, frames: int = 1) -> Windows:
    """Random motion and stamps, at intervals of 5 to 15 ms; the action is still to be set."""
    random = torch.Generator().manual_seed(seed)
    motion = torch.randn(count, frames, 3, generator=random)
    step = 0.005 + 0.01 * torch.rand(count, frames, generator=random)
    return Windows(motion, step.cumsum(1), motion[..., :1])


def learnt(
    model: InverseDynamics, train: Windows, tmp_path: Path, epochs: int = 15, rate: float = 2e-3
) -> float:
    """Fit a model and return the share of variance it leaves in training at the last frame."""
    model.standardise(train)
    descent = OptimizerConfig(epochs=epochs, batch_size=64, learning_rate=rate)
    Trainer(model, train, train, descent, 0, RunState(tmp_path, {}, model.meta)).run()
    error = (model.predict(*train[:2]).mean - train.action)[:, -1]
    return float(error.square().mean() / train.action[:, -1].var())


@pytest.mark.parametrize("family", ["gru", "enhanced", "flow"])
def test_history_shows_what_one_frame_cannot(family: str, tmp_path: Path) -> None:
    data = windows(1000, 0, frames=2)
    before = torch.roll(data.motion[..., :1], 1, dims=1)
    data = data._replace(action=before)
    small = {"width": 32} | ({"depth": 2, "dropout": 0.0} if family == "enhanced" else {})
    torch.manual_seed(0)
    assert learnt(build(meta(family, n_obs_steps=2, **small)), data, tmp_path) < 0.3
    assert learnt(build(meta("mlp", width=32)), data, tmp_path, epochs=5) > 0.7


def test_gru_reads_how_long_ago_a_frame_was(tmp_path: Path) -> None:
    data = windows(1000, 0, frames=2)
    step = torch.diff(data.time, dim=1)[..., None]  # what only the stamps tell
    data = data._replace(action=torch.cat([torch.full_like(step, 0.01), step], dim=1))
    torch.manual_seed(0)
    assert learnt(build(meta("gru", n_obs_steps=2, width=32)), data, tmp_path) < 0.1


@pytest.mark.parametrize("family", ["gru", "enhanced", "flow"])
def test_stamps_that_never_varied_in_training_have_no_effect_later(
    family: str, tmp_path: Path
) -> None:
    regular = windows(200, 0, frames=3)
    regular = regular._replace(time=torch.arange(3).repeat(200, 1) / 100)
    model = build(meta(family, n_obs_steps=3, width=16))
    learnt(model, regular, tmp_path, epochs=2)
    late = regular.time * 3.0
    torch.testing.assert_close(
        model.predict(regular.motion, late).mean, model.predict(*regular[:2]).mean
    )


@pytest.mark.parametrize("std_type", ["independent", "state"])
def test_gaussian_finds_the_noise_of_its_data(std_type: str, tmp_path: Path) -> None:
    train, random = windows(2000, 0), torch.Generator().manual_seed(1)
    wide = train.motion[..., 1:2] > 0
    noise = torch.where(wide, 0.5, 0.2) * torch.randn(wide.shape, generator=random)
    train = train._replace(action=train.motion[..., :1] + noise)
    torch.manual_seed(0)
    model = build(meta("enhanced", width=32, depth=2, dropout=0.0, std_type=std_type))
    learnt(model, train, tmp_path, epochs=15, rate=1e-2)
    std = model.predict(*train[:2]).std
    assert std is not None
    found = [float(std[mask].mean()) for mask in (wide, ~wide)]
    mixed = (0.5 * (0.5**2 + 0.2**2)) ** 0.5
    wanted = {"independent": [mixed, mixed], "state": [0.5, 0.2]}[std_type]
    assert found == pytest.approx(wanted, rel=0.3)
    drawn = model.sample(*train[:2], 50, 1.0, random) - model.predict(*train[:2]).mean
    assert float(drawn[:, wide].std()) == pytest.approx(found[0], rel=0.1)
    assert torch.equal(model.sample(*train[:2], 1, 0.0)[0], model.predict(*train[:2]).mean)


def test_spread_stays_within_its_limits() -> None:
    model = build(meta("enhanced", width=8, depth=1, std_type="independent"))
    for value, limit in ((-50.0, -5.0), (50.0, 2.0)):
        torch.nn.init.constant_(model.get_parameter("log_std"), value)
        std = model.predict(*windows(4, 0)[:2]).std
        assert std is not None
        torch.testing.assert_close(std, torch.full_like(std, limit).exp())


def test_dropout_works_in_training_and_never_in_prediction() -> None:
    model, data = build(meta("enhanced", width=32, depth=2, dropout=0.5)).train(), windows(16, 0)
    assert not torch.equal(model.loss(*data), model.loss(*data))
    assert torch.equal(model.predict(*data[:2]).mean, model.predict(*data[:2]).mean)


def test_smooth_costs_the_bend_of_the_action_in_training_only() -> None:
    data = windows(50, 0, frames=3)
    fields = {"width": 16, "depth": 1, "dropout": 0.0}
    torch.manual_seed(0)
    plain = build(meta("enhanced", **fields)).train()
    smooth = build(meta("enhanced", **fields, smoothness_time=0.02)).train()
    smooth.load_state_dict(plain.state_dict())
    y, t = plain.predict(*data[:2]).mean[..., 0].T, data.time.T
    rate = [(y[k + 1] - y[k]) / (t[k + 1] - t[k]) for k in (0, 1)]
    bend = (rate[1] - rate[0]) / (0.5 * (t[2] - t[0]))
    wanted = plain.loss(*data) + (0.02**2 * bend).square().mean()
    torch.testing.assert_close(smooth.loss(*data), wanted, rtol=1e-4, atol=1e-6)
    assert torch.equal(smooth.eval().loss(*data), plain.loss(*data))
    assert (plain.window, smooth.window, smooth.n_obs_steps) == (1, 3, 1)


def test_smooth_makes_actions_smoother_at_no_greater_error(tmp_path: Path) -> None:
    def sines(seed: int) -> Windows:
        """Smooth motion of a pendulum, with noise on the acceleration."""
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
    error, bend = [], []
    for smooth in (0.0, 0.01):
        torch.manual_seed(0)
        fields = {"width": 32, "depth": 2, "dropout": 0.0, "smoothness_time": smooth}
        model = build(meta("enhanced", **fields))
        learnt(model, train, tmp_path, epochs=6)
        mean = model.predict(*test[:2]).mean
        error.append(float((mean - test.action).square().mean()))
        bend.append(float(torch.diff(mean, 2, dim=1).square().mean()))
    assert error[1] < 1.1 * error[0]
    assert bend[1] < 0.5 * bend[0]


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
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
def test_fields_that_make_no_network_are_refused(family: str, config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(meta(family, **config))


def plain(family: str, unit: str = "N m") -> InverseDynamics:
    """A model as after training: no number in it is one of a fresh model."""
    model = build(meta(family, unit, **PLAIN[family])).eval()
    random = torch.Generator().manual_seed(3)
    for value in model.state_dict().values():
        value += 0.3 * torch.rand(value.shape, generator=random)
    return model


@pytest.mark.parametrize("unit", ["N m", "rad"])
@pytest.mark.parametrize("family", PLAIN)
def test_converted_model_is_the_same_function(family: str, unit: str) -> None:
    model, data = plain(family, unit), windows(20, 0, frames=7)
    for fields in ({}, {"std_type": "state"}, {"std_type": "independent", "n_obs_steps": 2}):
        made = convert(model, width=32, **fields)
        assert made.meta.family == "enhanced" and made.n_obs_steps >= model.n_obs_steps
        before, after = (m.predict(*data[:2]).mean for m in (model, made))
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", PLAIN)
def test_converted_model_learns_on_from_where_it_was(family: str, tmp_path: Path) -> None:
    model, data = plain(family), windows(1000, 0, frames=3)
    data = data._replace(action=model.predict(*data[:2]).mean + torch.sin(data.motion[..., :1]))
    made = convert(model, width=64, depth=2, dropout=0.0)
    before = made.get_parameter("base.head.0.weight" if family == "gru" else "base.net.0.weight")
    before, start = before.detach().clone(), made.predict(*data[:2]).mean
    made.standardise(data)  # of other data than the base's: it must stay the same function
    torch.testing.assert_close(made.predict(*data[:2]).mean, start, rtol=1e-5, atol=1e-5)
    first = made.eval().loss(*data).detach()
    descent = OptimizerConfig(epochs=5, batch_size=64)
    Trainer(made, data, data, descent, 0, RunState(tmp_path, {}, made.meta)).run()
    assert made.eval().loss(*data) < 0.2 * first
    now = made.get_parameter("base.head.0.weight" if family == "gru" else "base.net.0.weight")
    assert not torch.equal(before, now)  # the base learns too


def test_command_converts_a_checkpoint(tmp_path: Path) -> None:
    model, data = plain("gru"), windows(5, 0, frames=4)
    save(model, replace(model.meta, action_delay=0.01, data={"name": "toy"}), tmp_path / "gru")
    words = ["--checkpoint", str(tmp_path / "gru"), "--out", str(tmp_path / "enhanced")]
    assert cli.main([*words, "--width", "32", "--dropout", "0.2"]) == 0
    made = load(tmp_path / "enhanced")
    assert (made.meta.family, made.meta.action_delay, made.meta.data) == (
        "enhanced",
        0.01,
        {"name": "toy"},
    )
    assert made.meta.config["width"] == 32
    both = (m.predict(*data[:2]).mean for m in (load(tmp_path / "gru"), made))
    torch.testing.assert_close(*both, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="enhanced exists and is not empty"):
        cli.main(words)


def test_what_cannot_be_converted_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    r = robot("ur5")
    rigid = ModelMetadata("rigid_body", "ur5", r.joint_names, "N m", 125.0, 0.0, r.xml())
    save(build(rigid), rigid, tmp_path / "rigid")
    words = ["--checkpoint", str(tmp_path / "rigid"), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="a 'rigid_body' cannot be converted; only mlp and gru"):
        cli.main(words)
    save(plain("mlp"), plain("mlp").meta, tmp_path / "mlp")
    words[1] = str(tmp_path / "mlp")
    with pytest.raises(ValueError, match="unknown field 'widht'"):
        cli.main([*words, "--widht", "3"])
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """A flow that has seen that either of two currents makes a motion."""
    torch.manual_seed(0)
    model = build(ModelMetadata("flow", "solenoid", ("joint",), "A", 100.0, 0.0, ""))
    random = torch.Generator().manual_seed(0)
    learn, judge = solenoid(6000, random), solenoid(1000, random)
    model.standardise(learn)
    state = RunState(tmp_path_factory.mktemp("flow"), {}, model.meta)
    Trainer(model, learn, judge, OptimizerConfig(epochs=25, batch_size=256), 0, state).run()
    assert isinstance(model, Flow)
    return model.eval()


def test_flow_finds_both_actions_of_a_motion_and_its_mean_neither(flow: Flow) -> None:
    test = solenoid(200, torch.Generator().manual_seed(5))
    drawn = flow.sample(*test[:2], 40, 1.0, torch.Generator().manual_seed(0))
    found = sample_metrics(drawn, test)
    assert found["near_mode"] > 90
    assert 35 < found["positive"] < 65
    mean, std = flow.predict(*test[:2])
    assert mean.abs().mean() < 0.1  # between the two
    assert std is not None
    torch.testing.assert_close(std, test.action.abs(), rtol=0.1, atol=0.1)
    for one in (mean, test.action, 0 * mean):
        assert nmse(one, test) > 1 - 1e-6  # no single action does better


def test_more_steps_follow_the_same_flow(flow: Flow) -> None:
    test = solenoid(200, torch.Generator().manual_seed(5))

    def draw(steps: int) -> Tensor:
        return flow.sample(
            *test[:2], 10, 1.0, torch.Generator().manual_seed(0), num_inference_steps=steps
        )

    apart = [float((draw(steps) - draw(64)).square().mean()) for steps in (1, 4, 16)]
    assert apart[0] > apart[1] > apart[2]
    for steps in (0, 101):
        with pytest.raises(ValueError, match=f"steps is {steps}; it must be"):
            draw(steps)
