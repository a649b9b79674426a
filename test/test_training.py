from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from oracle import excitation, robot, setpoint, stiction_torque

from invdyn_ros.cli import run_verb
from invdyn_ros.cli import train as cli
from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.windows import windows
from invdyn_ros.evaluation.pages.network import read_network_page
from invdyn_ros.models import least_squares_identification as identification
from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.dense_network import dense_network
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.net2net import convert
from invdyn_ros.models.network_history import NetworkHistory
from invdyn_ros.models.registry import MODELS
from invdyn_ros.models.residual_metadata import ResidualStatistics
from invdyn_ros.training import trainer as trainer_module
from invdyn_ros.training.action_delay import _estimate_delay
from invdyn_ros.training.action_timing import ActionTiming, TimingError
from invdyn_ros.training.data_preparation import SplitConfig, split_train_val_test
from invdyn_ros.training.run_config import TrainConfig, parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.training.trainer import TrainerConfig
from invdyn_ros.training.training_state import Progress

ACTION_DELAY = 0.012  # [s] 1.5 sample intervals of the UR5
SMALL = {
    "width": 32,
    "depth": 1,
    "epochs": 8,
    "batch_size": 64,
    "seed": 3,
    "action_delay": ACTION_DELAY,  # its estimate takes longer than the training
}
OVERRIDES: dict[str, dict[str, Any]] = {
    "hybrid": {"num_selection_rows": 200, "num_inducing": 8, "friction_filter_times": [0.0]},
    "ensemble": {
        "epochs": 3,
        "seed": 3,
        "num_members": 2,
        "member_config": {"width": 16, "depth": 1},
    },
}
CONFIGS = Path(__file__).parents[1] / "config" / "train"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten short trajectories of a UR5 with an action delay of 1.5 intervals."""
    folder = tmp_path_factory.mktemp("training") / "data"
    ur5 = robot("ur5")
    write_dataset(
        folder, [excitation(ur5, seed, ACTION_DELAY, 2.0) for seed in range(10)], "ur5", ur5.rate
    )
    return folder


def config(family: str, **values: Any) -> TrainConfig:
    return parse_train_config({"family": family} | values, "test")


def known_fields(family: str) -> set[str]:
    schemas = (TrainConfig, TrainerConfig, MODELS[family].Config)
    return {field.name for schema in schemas for field in fields(schema)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder).state_dict()


def assert_equal_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


MOTION_FAMILIES = [name for name, family in MODELS.items() if family.input_type == "motion"]


@pytest.mark.slow
@pytest.mark.parametrize("family", MOTION_FAMILIES)
def test_same_seed_gives_the_same_weights(family: str, data: Path, tmp_path: Path) -> None:
    small = {k: v for k, v in SMALL.items() if k in known_fields(family)} | {"epochs": 3}
    small |= OVERRIDES.get(family, {})
    if family == "rigid_body":
        del small["action_delay"]  # the estimate is the same, too
    for name in ("one", "two"):
        train(config(family, **small), data, tmp_path / name)
    assert_equal_weights(tmp_path / "one", tmp_path / "two")


def test_another_seed_gives_other_weights(data: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(config("mlp", **(SMALL | {"seed": seed})), data, tmp_path / str(seed))
    first, second = weights(tmp_path / "0"), weights(tmp_path / "1")
    assert not torch.equal(first["net.0.weight"], second["net.0.weight"])


@pytest.mark.parametrize("intervals", [0.0, 1.0, 1.5, 3.0])
def test_action_delay_is_estimated_to_half_an_interval(intervals: float, tmp_path: Path) -> None:
    ur5 = robot("ur5")
    trajectories = [excitation(ur5, seed, intervals / ur5.rate, 2.0) for seed in range(5)]
    write_dataset(tmp_path / "data", trajectories, "ur5", ur5.rate)
    model = train(config("rigid_body"), tmp_path / "data", tmp_path / "out")
    assert model.meta.action_delay == pytest.approx(intervals / ur5.rate, abs=1e-9)


class _DelayError(TimingError):
    """Error that depends on the delay by a formula."""

    def __init__(self, of_delay: Callable[[float], float], unit: str = "N m") -> None:
        self.of_delay = of_delay
        self.meta = ModelMetadata("rigid_body", "ur5", (), unit, 125.0, 0.0, "", {})

    def __call__(self, timing: ActionTiming) -> float:
        return self.of_delay(timing.action_delay)


def test_delay_that_a_motion_does_not_tell_is_not_the_largest_lateness() -> None:
    assert _estimate_delay(_DelayError(lambda delay: 1 + delay)) == 0.0
    late = _estimate_delay(_DelayError(lambda delay: (delay + 0.1) ** 2))
    assert late == pytest.approx(-0.1, abs=0.004)
    command = _DelayError(lambda delay: (delay + 0.1) ** 2, "rad")
    assert _estimate_delay(command) == 0.0, "a setpoint is never after its motion"


def test_stiction_does_not_bias_the_action_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ur5 = robot("ur5")
    trajectories = [
        excitation(ur5, seed, ACTION_DELAY, 2.0, action=stiction_torque) for seed in range(5)
    ]
    write_dataset(tmp_path / "data", trajectories, "ur5", ur5.rate)
    delays = []
    for weight in (identification.STICTION_WEIGHT, 1.0):
        monkeypatch.setattr(identification, "STICTION_WEIGHT", weight)
        delays.append(
            train(config("rigid_body"), tmp_path / "data", tmp_path / "out").meta.action_delay
        )
    assert delays[0] == pytest.approx(ACTION_DELAY)
    assert delays[1] > ACTION_DELAY  # so the weight is the cause


def test_configured_action_delay_is_used(data: Path, tmp_path: Path) -> None:
    assert train(config("rigid_body", action_delay=0.02), data, tmp_path).meta.action_delay == 0.02


def test_error_decreases_with_training(tmp_path: Path) -> None:
    ur5 = robot("ur5")
    parts = [excitation(ur5, seed, seconds=4.0) for seed in range(16)]
    centred = [replace(t, position=t.position - t.position.mean(0)) for t in parts]
    # gravity and friction of single joints, for which sixteen trajectories suffice
    simple = [
        replace(t, action=3 * torch.sin(torch.as_tensor(t.position)).numpy() + t.velocity)
        for t in centred
    ]
    write_dataset(tmp_path / "data", simple, "ur5", ur5.rate)
    before_after = []
    for epochs in (1, 40):
        values = {"width": 64, "depth": 2, "epochs": epochs, "action_delay": 0.0}
        model = train(config("mlp", **values), tmp_path / "data", tmp_path / str(epochs))
        test = windows(simple[:2])
        error = model.predict(test.motion, test.time).mean - test.action
        before_after.append(float(error.square().mean() / test.action.var()))
    assert before_after[1] < 0.01 < before_after[0]


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "SAVE_INTERVAL", 0.0)

    def stop(progress: Progress) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    train(config("mlp", **SMALL), data, tmp_path / "uninterrupted")
    with pytest.raises(KeyboardInterrupt):
        train(config("mlp", **SMALL), data, tmp_path / "interrupted", on_epoch=stop)
    load(tmp_path / "interrupted")  # the best weights until then
    epochs: list[int] = []
    record_epoch: Callable[[Progress], None] = lambda progress: epochs.append(progress.epoch)  # noqa: E731
    train(
        config("mlp", **SMALL), data, tmp_path / "interrupted", resume=True, on_epoch=record_epoch
    )
    assert epochs == [4, 5, 6, 7, 8]
    assert_equal_weights(tmp_path / "uninterrupted", tmp_path / "interrupted")
    logs = [
        (tmp_path / name / "training.json").read_text()
        for name in ("uninterrupted", "interrupted")
    ]
    assert logs[0] == logs[1]


def test_resuming_without_a_state_or_with_other_settings_is_refused(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="nothing to resume"):
        train(config("mlp", **SMALL), data, tmp_path, resume=True)
    train(config("mlp", **SMALL), data, tmp_path)
    with pytest.raises(ValueError, match="width 32, now it is 16"):
        train(config("mlp", **(SMALL | {"width": 16})), data, tmp_path, resume=True)
    (tmp_path / "last.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="not a readable state of a run"):
        train(config("mlp", **SMALL), data, tmp_path, resume=True)


def test_training_starts_from_init_from(data: Path, tmp_path: Path) -> None:
    base_model = train(config("mlp", **SMALL), data, tmp_path / "mlp")
    converted = convert(base_model, width=16, depth=1, dropout=0.0)
    save(converted, converted.meta, tmp_path / "converted")
    values = {
        "init_from": str(tmp_path / "converted"),
        "epochs": 1,
        "learning_rate": 1e-9,
        "seed": 3,
    }
    model = train(config("enhanced", **values), data, tmp_path / "on")
    assert model.meta.config["width"] == 16
    test = windows(
        split_train_val_test(read_dataset(data).trajectories, SplitConfig(0.2, 3))[0].test
    )
    after, before = (m.predict(*test[:2]).mean for m in (model, base_model))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="has family 'enhanced'; this run has 'mlp'"):
        train(config("mlp", **(SMALL | {"init_from": values["init_from"]})), data, tmp_path / "no")
    save(converted, replace(converted.meta, robot="ur10"), tmp_path / "other")
    with pytest.raises(ValueError, match=f"has robot 'ur10'; this run has '{model.meta.robot}'"):
        train(config("enhanced", init_from=str(tmp_path / "other")), data, tmp_path / "no")


def test_training_uses_the_window_of_the_model(data: Path, tmp_path: Path) -> None:
    small = {"width": 8, "depth": 1, "epochs": 1, "n_obs_steps": 4}
    model = train(config("gru", **small), data, tmp_path)
    assert (model.n_obs_steps, model.meta.config["n_obs_steps"]) == (4, 4)
    with pytest.raises(ValueError, match="unknown field 'n_obs_steps'; mlp has"):
        config("mlp", n_obs_steps=4)


def test_weights_of_the_lowest_validation_loss_are_saved(data: Path, tmp_path: Path) -> None:
    losses: list[tuple[float, float]] = []
    values = SMALL | {
        "learning_rate": 0.3,
        "epochs": 12,
        "early_stopping_patience": 4,
        "action_delay": 0.0,
    }
    model = train(
        config("mlp", **values), data, tmp_path, on_epoch=lambda p: losses.append(p.losses[-1])
    )
    _, inner = split_train_val_test(read_dataset(data).trajectories, SplitConfig(0.2, 3))
    with torch.no_grad():
        loss = float(model.loss(*windows(inner.test, dtype=model.dtype)))
    assert loss == pytest.approx(min(val for _, val in losses)) and loss < losses[-1][1]


def test_checkpoint_records_the_sizes_of_the_split(data: Path, tmp_path: Path) -> None:
    model = train(config("mlp", **SMALL), data, tmp_path)
    samples = model.meta.data["samples"]
    assert (samples["train"], samples["val"], samples["test"]) == (1500, 500, 500)


def test_servo_data_can_be_trained_on(tmp_path: Path) -> None:
    dofbot = robot("dofbot")
    parts = [excitation(dofbot, seed, 0.02, unit="rad", action=setpoint) for seed in range(5)]
    write_dataset(tmp_path / "data", parts, "dofbot", dofbot.rate)
    model = train(config("rigid_body"), tmp_path / "data", tmp_path / "out")
    assert model.meta.action_unit == "rad"
    assert model.meta.action_delay == pytest.approx(0.02)
    assert all(0.02 < c < 0.05 for c in model.meta.data["urdf_compliance"][1:4])


def test_dataset_of_another_arm_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"joints shoulder_pan_joint.*'dofbot' has joint_1"):
        train(config("rigid_body"), data, tmp_path, robot=robot("dofbot"))


def test_unknown_field_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown field 'widht'; mlp has .*width"):
        config("mlp", widht=3)
    with pytest.raises(ValueError, match="family is 'lstm'; known are rigid_body, hybrid"):
        config("lstm")
    with pytest.raises(ValueError, match="epochs is 0"):
        config("mlp", epochs=0)


def test_command_line_trains_with_overridden_fields(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--config",
        str(CONFIGS / "mlp.yaml"),
        "--data",
        str(data),
        "--out",
        str(tmp_path),
    ]
    assert cli.main([*arguments, "--width", "16", "--epochs=2", "--learning-rate", "1e-3"]) == 0
    assert load(tmp_path).meta.config["width"] == 16
    printed = capsys.readouterr().out
    assert "mlp for ur5, action delay 12.0 ms, validation nMSE " in printed
    error = load(tmp_path).meta.data["validation"]
    assert error["nmse"] > 0 and error["rmse"] > 0
    residuals = ResidualStatistics.from_metadata(load(tmp_path).meta)
    assert residuals is not None and (residuals.std > 0).all()
    assert residuals.std.mean() == pytest.approx(error["rmse"], rel=0.1)
    assert f"RMSE {error['rmse']:.3g} N m" in printed
    with pytest.raises(ValueError, match="expected '--field value'"):
        cli.main([*arguments, "--overwrite", "--width"])


@pytest.mark.slow
def test_network_is_watched_while_it_trains(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written: list[NetworkHistory] = []
    write = cli.write_network_page
    monkeypatch.setattr(cli.PageWriter, "INTERVAL", 0.0)
    monkeypatch.setattr(cli.PageWriter, "FRACTION", 1.0)
    monkeypatch.setattr(
        cli, "write_network_page", lambda path, runs: written.extend(runs) or write(path, runs)
    )
    words = f"--config {CONFIGS / 'mlp.yaml'} --data {data} --width 8 --epochs 4".split()
    plain, watched, page = tmp_path / "plain", tmp_path / "watched", tmp_path / "net.html"
    assert cli.main([*words, "--out", str(plain)]) == 0
    assert cli.main([*words, "--out", str(watched), "--watch", str(page)]) == 0
    assert_equal_weights(plain, watched)
    assert [h.snapshots[-1].epoch for h in written] == [1, 2, 3, 4, 4]
    assert [h.finished for h in written] == [False] * 4 + [True]
    (history,) = read_network_page(page)
    assert [s.epoch for s in history.snapshots] == [0, 1, 2, 3, 4]
    assert [loss.epoch for loss in history.losses] == [1, 2, 3, 4]
    expected = dense_network(load(watched)).layers
    for layer, trained in zip(history.network(-1).layers, expected, strict=True):
        assert torch.equal(layer.weight, trained.weight)
    series = tmp_path / "series.html"
    sources = ["--checkpoints", str(plain), str(watched)]
    assert run_verb("visualize", ["network", *sources, "--out", str(series)]) == 0
    assert len(read_network_page(series)[0].snapshots) == 2
    words += ["--out", str(tmp_path / "refused"), "--watch"]
    for name, end, message in (
        ("mlp", "net.txt", "is no .html file"),
        ("gru", str(tmp_path / "gru.html"), "family gru is not a plain stack of layers"),
    ):
        words[1] = str(CONFIGS / f"{name}.yaml")
        assert run_verb("train", [*words, end]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert parse_train_config(load_yaml(path), path.name).family == path.stem
