from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import check_quiet, open_page
from oracle import SLOW, excitation, robot, setpoint
from selenium.webdriver.remote.webdriver import WebDriver

from invdyn_ros.cli import evaluate as cli
from invdyn_ros.cli import run_verb
from invdyn_ros.cli import train as cli_train
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.windows import split
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.evaluation.metrics import error_metrics
from invdyn_ros.evaluation.report_keys.registry import undescribed_keys, unused_keys
from invdyn_ros.evaluation.uncertainty_calibration import uncertainty_calibration
from invdyn_ros.models.checkpoint import load
from invdyn_ros.sources.rosbag import BagConfig, read_bag
from invdyn_ros.training.data_preparation import SplitConfig, split_train_val_test
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train

UR10 = Path(__file__).parents[2] / "shared" / "data" / "ur10" / "ur10_exciting_trajectory.db3"

RIGID_BODY = {"family": "rigid_body", "coulomb_velocity": SLOW}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a dataset and a rigid body identified from it."""
    folder, ur5 = tmp_path_factory.mktemp("evaluation"), robot("ur5")
    parts = [excitation(ur5, seed, 0.008, 2.0) for seed in range(10)]
    write_dataset(folder / "data", parts, "ur5", ur5.rate)
    train(parse_train_config(RIGID_BODY, "test"), folder / "data", folder / "model")
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:
    arguments = {"checkpoint": "model", "data": "data", "report": "r.json", "plots": "plots"}
    cli.main([x for k, v in arguments.items() for x in (f"--{k}", str(folder / v))])
    return json.loads((folder / "r.json").read_text())


def test_training_with_a_report_may_replace_an_earlier_one(folder: Path) -> None:
    outputs = {"data": "data", "out": "again", "report": "again.json"}
    words = [x for k, v in outputs.items() for x in (f"--{k}", str(folder / v))]
    (folder / "again.json").write_text("{}")
    words += ["--config", "rigid_body", "--identify", "false", "--overwrite"]
    assert cli_train.main(words) == 0
    assert "nmse" in json.loads((folder / "again.json").read_text())


def test_report_has_all_documented_keys(report: dict) -> None:
    assert not undescribed_keys("evaluate", report) and not unused_keys("evaluate", report)
    assert set(report["split"]) == {
        *("group_by", "train", "test", "duplicates"),
        *("train_recordings", "test_recordings"),
    }
    assert set(report["baselines"]) == {"zero", "mean", "hold_last", "rigid_body"}
    for row in (report, *report["baselines"].values()):
        for measure in ("nmse", "rmse"):
            assert set(row[measure]) == {"mean", "per_joint", "ci95"}
            assert len(row[measure]["per_joint"]) == 6
            low, high = row[measure]["ci95"]
            assert 0 <= low <= high
    assert report["uncertainty_calibration"] is None
    assert 0 < report["latency_us"]["p50"] <= report["latency_us"]["p99"]


def test_page_shows_each_joint_and_the_worst_windows(
    report: dict, folder: Path, browser: WebDriver
) -> None:
    open_page(browser, folder / "r.html")
    check_quiet(browser)
    charts = browser.execute_script("return pageData.charts.map((c) => c.options)")
    titles = [chart["title"] for chart in charts]
    assert titles[:7] == ["nMSE by joint", *report["joint_names"]]
    gallery = browser.find_elements("css selector", ".gallery article")
    assert 1 < len(gallery) == len(titles) - 7
    worst = [float(a.text.split("Squared error ")[1].split("%")[0]) for a in gallery]
    assert worst == sorted(worst, reverse=True)
    for chart in charts[7:]:
        (span,) = chart["spans"]
        assert 0 < span["to"] - span["from"] <= 1
    text = browser.find_element("css selector", ".headline").text
    assert "nMSE" in text and f"{report['split']['test']} held-out samples" in text
    command = browser.find_element("css selector", ".origin dd").text
    assert command.startswith("invdyn evaluate --checkpoint")


def test_training_dataset_is_evaluated_on_its_test_split_only(report: dict) -> None:
    assert report["split"] == {
        "group_by": "trajectory",
        "train_recordings": [],
        "test_recordings": [],
        "train": 2000,
        "test": 500,
        "duplicates": 0,
    }


def test_recordings_to_train_and_test_on_are_chosen_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (_, info), folders = read_dataset(folder / "data"), [tmp_path / name for name in "abc"]
    for seed, name in enumerate(folders):
        parts = [
            replace(excitation(robot("ur5"), 2 * seed + k, 0.008, 1.0), recording="sim")
            for k in (0, 1)
        ]
        write_dataset(name, parts, "ur5", info.rate)
    merged = tmp_path / "merged"
    assert run_verb("collect", ["dataset", *map(str, folders), "--out", str(merged)]) == 0
    names = [t.recording for t in read_dataset(merged).trajectories]
    assert names == [*"aabbcc"], "those of the folders, since all three have a recording 'sim'"
    words = ["--config", "rigid_body", "--identify", "false", "--data", str(merged), "--out"]
    assert run_verb("train", [*words, str(tmp_path / "model"), "--train", "a", "--test", "c"]) == 0
    model, trajectories = load(tmp_path / "model"), read_dataset(merged).trajectories
    split = evaluate(model, trajectories)["split"]
    assert (split["train_recordings"], split["test_recordings"]) == (["a"], ["c"])
    for train_names, test_names, train_rest, test_rest in (
        ((), "ac", "b", "ac"),
        ("b", (), "b", "ac"),
    ):
        config = SplitConfig(0.2, 0, tuple(train_names), tuple(test_names))
        outer, inner = split_train_val_test(trajectories, config)
        parts = [{t.recording for t in part} for part in (outer.train, outer.test)]
        assert parts == [set(train_rest), set(test_rest)]
        assert {t.recording for t in (*inner.train, *inner.test)} == set(train_rest)
    outer, inner = split_train_val_test(trajectories, SplitConfig(0.0, 0))
    assert (len(outer.train), len(outer.test), len(inner.test)) == (6, 0, 1)
    for choice in (
        "--test d",
        "--train a --test a",
        "--test a b c",
        "--test-fraction 0 --report r.json",
    ):
        assert run_verb("train", [*words, str(tmp_path / "none"), *choice.split()]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_exact_model_beats_all_baselines(report: dict) -> None:
    best = min(row["nmse"]["mean"] for row in report["baselines"].values())
    assert report["nmse"]["mean"] < 1e-6 < best


def test_plots_are_images(report: dict, folder: Path) -> None:
    figures = sorted((folder / "plots").glob("*.png"))
    assert figures
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in figures)


def test_other_dataset_is_evaluated_as_a_whole(folder: Path, tmp_path: Path) -> None:
    model, ur5 = load(folder / "model"), robot("ur5")
    result = evaluate(model, [excitation(ur5, 77, 0.008, 2.0)])
    assert result["split"] == {
        "group_by": "dataset",
        "train_recordings": [],
        "test_recordings": [],
        "train": 1500,
        "test": 250,
        "duplicates": None,
    }
    assert result["nmse"]["mean"] < 1e-5


def test_dataset_of_another_arm_with_the_same_joint_names_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "data", [excitation(robot("ur5e"), 0, seconds=0.5)], "ur5e", 500.0)
    with pytest.raises(ValueError, match=r"is of 'ur5e'; .* is a model of 'ur5'"):
        arguments = {"checkpoint": folder / "model", "data": tmp_path / "data", "report": "r.json"}
        cli.main([x for k, v in arguments.items() for x in (f"--{k}", str(v))])


def test_baselines_match_their_definitions(folder: Path, report: dict) -> None:
    parts = split(read_dataset(folder / "data").trajectories, 0.2, 0)
    test = [t.shift(0.008) for t in parts.test]
    actions = np.concatenate([t.action for t in test])
    zero = np.sqrt((actions**2).mean(0))
    np.testing.assert_allclose(report["baselines"]["zero"]["rmse"]["per_joint"], zero)
    learned = np.concatenate([t.shift(0.008).action for t in parts.train]).mean(0)
    mean = np.sqrt(((actions - learned) ** 2).mean(0))
    np.testing.assert_allclose(report["baselines"]["mean"]["rmse"]["per_joint"], mean)
    held = [np.concatenate([learned[None], t.action[:-1]]) - t.action for t in test]
    last = np.sqrt((np.concatenate(held) ** 2).mean(0))
    np.testing.assert_allclose(report["baselines"]["hold_last"]["rmse"]["per_joint"], last)
    ur5 = robot("ur5")
    urdf = np.stack([ur5.inverse_dynamics(*np.split(row, 3)) for t in test for row in t.motion])
    rigid = np.sqrt(((urdf - actions) ** 2).mean(0))
    np.testing.assert_allclose(report["baselines"]["rigid_body"]["rmse"]["per_joint"], rigid)


def test_nmse_of_predicting_the_mean_is_one() -> None:
    rng = np.random.default_rng(0)
    targets = [rng.normal(3.0, [1.0, 5.0], (200, 2)) for _ in range(12)]
    mean = np.concatenate(targets).mean(0)
    result = error_metrics([mean - t for t in targets], targets)["nmse"]
    np.testing.assert_allclose(result["per_joint"], 1.0)
    assert result["ci95"][0] < 1.0 < result["ci95"][1]


def test_interval_covers_the_true_value_at_its_nominal_rate() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(60):
        size = rng.uniform(0.5, 1.5, 20)  # trajectories differ in difficulty
        targets = [rng.normal(size=(50, 1)) for _ in size]
        low, high = error_metrics([s * rng.normal(size=(50, 1)) for s in size], targets)["nmse"][
            "ci95"
        ]
        inside += low <= 1.0 + 1 / 12 <= high  # mean of s^2
    assert inside >= 50


def test_interval_of_r2_accounts_for_errors_proportional_to_motion() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(0, 1.5, 20)  # few trajectories have nearly all of the power
    targets = [size * rng.normal(size=(50, 1)) for size in sizes]
    worth = error_metrics([0.8 * t for t in targets], targets)  # R2 is 0.36 in each trajectory
    assert worth["r2"]["mean"] == pytest.approx(1 - worth["nmse"]["mean"])
    assert 0.3 < worth["r2"]["ci95"][0] < worth["r2"]["ci95"][1] < 0.4
    assert worth["nmse"]["ci95"][1] > 1
    none = error_metrics([t.copy() for t in targets], targets)["r2"]  # this is the zero baseline
    assert none["ci95"][0] <= 0 and none["ci95"][1] < 0.01


def test_joint_that_never_moves_has_no_nmse() -> None:
    targets = [np.stack([np.ones(50), np.arange(50.0)], 1)]
    result = error_metrics([np.ones((50, 2))], targets)
    assert result["nmse"]["per_joint"][0] is None
    assert result["nmse"]["mean"] == result["nmse"]["per_joint"][1]
    json.dumps(result, allow_nan=False)


def test_servo_errors_are_relative_to_the_offset(tmp_path: Path) -> None:
    dofbot = robot("dofbot")
    parts = [excitation(dofbot, seed, 0.0, unit="rad", action=setpoint) for seed in range(5)]
    write_dataset(tmp_path / "data", parts, "dofbot", dofbot.rate)
    model = train(parse_train_config(RIGID_BODY, "test"), tmp_path / "data", tmp_path / "model")
    result = evaluate(model, parts)
    assert result["target"] == "setpoint offset u - q"
    zero = result["baselines"]["zero"]["rmse"][
        "mean"
    ]  # a command that is the desired position itself
    assert 0.001 < zero < 0.2
    assert result["nmse"]["mean"] < 1e-4 < result["baselines"]["rigid_body"]["nmse"]["mean"]


def test_std_is_calibrated_if_a_family_predicts_it() -> None:
    error = np.random.default_rng(0).normal(0, 0.3, (5000, 2))
    result = uncertainty_calibration([error], [np.full_like(error, 0.3)])
    assert result is not None
    assert result["within_1_std"] == pytest.approx(0.683, abs=0.01)
    assert result["within_2_std"] == pytest.approx(0.954, abs=0.01)


def test_data_of_another_unit_or_arm_are_refused(folder: Path) -> None:
    dofbot = [excitation(robot("dofbot"), 0, unit="rad", action=setpoint)]
    with pytest.raises(ValueError, match=r"joint names .*joint_1.*; the model has .*shoulder_pan"):
        evaluate(load(folder / "model"), dofbot)
    amperes = [excitation(robot("ur5"), 0, seconds=1.0, unit="A")]
    with pytest.raises(ValueError, match="action unit A; the model has N m"):
        evaluate(load(folder / "model"), amperes)


@pytest.mark.skipif(not UR10.exists(), reason=f"no recording {UR10.name} beside the project")
def test_identified_model_explains_a_real_ur10(tmp_path: Path) -> None:
    ur10 = robot("ur10")
    parts = read_bag(UR10, ur10.joint_names, BagConfig("N m")).trajectories
    write_dataset(tmp_path / "data", parts, "ur10", 125.0)
    config = parse_train_config(RIGID_BODY, "test")
    model = train(config, tmp_path / "data", tmp_path / "model")
    result = evaluate(model, parts)
    assert result["split"]["group_by"] == "time"
    assert result["nmse"]["mean"] < 0.02  # the authors' own model: .0292
    assert result["nmse"]["ci95"][1] < result["baselines"]["rigid_body"]["nmse"]["ci95"][0]
