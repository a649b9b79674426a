from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import SLOW, excitation, robot, setpoint

from invdyn_ros.cli import compare as cli
from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import excitation_motion
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.evaluation.compare import (
    ComparisonJob,
    comparison_report,
    family_configs,
    trained_runs,
)
from invdyn_ros.evaluation.comparison_runs import train_run
from invdyn_ros.evaluation.comparison_table import comparison_rows, markdown
from invdyn_ros.evaluation.report_keys.registry import undescribed_keys, unused_keys
from invdyn_ros.evaluation.trained_run import TrainedRun
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.training.run_config import TrainConfig

FAMILIES = ("mlp", "rigid_body")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return data of a rigid body with friction, and configs that train in seconds."""
    folder, ur10 = tmp_path_factory.mktemp("comparison"), robot("ur10")
    parts = [excitation(ur10, seed, 0.008, 2.0) for seed in range(8)]
    write_dataset(folder / "data", parts, "ur10", ur10.rate)
    (folder / "configs").mkdir()
    for family, extra in (
        ("mlp", "width: 8\ndepth: 1\nepochs: 2\n"),
        ("rigid_body", f"coulomb_velocity: {SLOW}\n"),
    ):
        (folder / "configs" / f"{family}.yaml").write_text(f"family: {family}\n{extra}")
    return folder


def compare(folder: Path, out: str, *more: str) -> dict:
    arguments = ["--data", folder / "data", "--out", folder / out, "--configs", folder / "configs"]
    more = ("--seeds", "2", "--workers", "1", "--closed-loop", "False", *more)
    assert cli.main([*map(str, arguments), "--families", *FAMILIES, *more]) == 0
    return json.loads((folder / out / "compare.json").read_text())


@pytest.fixture(scope="module")
def compared(folder: Path) -> dict:
    return compare(folder, "out")


def test_every_key_is_described_and_the_page_has_all_families(
    folder: Path, compared: dict
) -> None:
    assert not undescribed_keys("compare", compared) and not unused_keys("compare", compared)
    page = (folder / "out" / "compare.html").read_text(encoding="utf-8")
    assert all(f">{name}" in page for name in compared["families"])
    assert f"Best of {len(compared['families'])}" in page


def job(folder: Path, out: Path) -> ComparisonJob:
    return ComparisonJob(folder / "data", out, robot("ur10"), None)


def configs(folder: Path) -> dict[str, TrainConfig]:
    return family_configs(FAMILIES, folder / "configs")


@pytest.mark.slow
def test_family_that_generated_the_data_is_best(compared: dict) -> None:
    assert compared["best"]["family"] == "rigid_body"
    assert "mlp" in compared["best"]["reason"]
    worst = compared["families"]["mlp"]["val"]["mean"]
    assert compared["families"]["rigid_body"]["val"]["mean"] < 1e-5 < worst


def test_every_interval_contains_its_mean(compared: dict) -> None:
    rows = [*compared["families"].values(), *compared["baselines"].values()]
    assert len(rows) == 2 + 4
    for row in rows:
        for part in (row["nmse"], row["val"], row["rmse"]):
            low, high = part["ci95"]
            assert low <= part["mean"] <= high


def test_table_and_plot_contain_every_row(compared: dict, folder: Path) -> None:
    text = (folder / "out" / "compare.md").read_text()
    names = ["zero", "mean", "hold last", "rigid body (URDF)", "mlp", "**rigid_body**"]
    cells = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if "|" in line]
    assert cells == [
        "model",
        "---" + "|---" * 6,
        *names,
    ]  # the best family is in the last row, next to the line that names it
    assert f"Best: **rigid_body** (rigid_body_0): {compared['best']['reason']}." in text
    assert (folder / "out" / "compare.png").read_bytes().startswith(PNG)


def test_arm_without_simulation_has_no_tracking_error(compared: dict) -> None:
    assert compared["tracking_task"] is None and "tracking" not in markdown(compared)
    assert all(row.tracking_rms is None for row in comparison_rows(compared))


def test_all_seeds_are_reported_and_a_closed_form_has_one(compared: dict, folder: Path) -> None:
    runs_of = {name: row["seeds"] for name, row in compared["families"].items()}
    assert [seed["checkpoint"] for seed in runs_of["mlp"]] == ["mlp_0", "mlp_1"]
    assert len(runs_of["rigid_body"]) == 1
    assert len({seed["val"] for seed in runs_of["mlp"]}) == 2  # other weights
    parts = [load(folder / "out" / name).meta.data for name in ("mlp_0", "mlp_1", "rigid_body_0")]
    assert parts[0]["split"] == parts[1]["split"] == parts[2]["split"]


def test_finished_comparison_is_not_trained_again(
    compared: dict, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in (folder / "out").glob("*/*.safetensors")}
    again = compare(folder, "out")
    assert capsys.readouterr().out.count("loaded") == 3
    assert before == {file: file.stat().st_mtime_ns for file in before}
    for name, row in again["families"].items():
        assert row["nmse"] == compared["families"][name]["nmse"]
        assert all(seed["train_seconds"] is None for seed in row["seeds"])


def test_interrupted_training_is_resumed(folder: Path, tmp_path: Path) -> None:
    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    config, one, two = configs(folder)["mlp"], tmp_path / "one", tmp_path / "two"
    with pytest.raises(KeyboardInterrupt):
        train_run(job(folder, one).training(""), config, stop)
    assert load(one / "mlp_0").meta.data["interrupted"], "it holds the best weights so far"
    epochs: list[int] = []
    train_run(
        job(folder, one).training(""), config, lambda progress: epochs.append(progress.epoch)
    )
    assert epochs == [2]
    train_run(job(folder, two).training(""), config)
    assert "interrupted" not in load(one / "mlp_0").meta.data
    weights = [(out / "mlp_0" / "model.safetensors").read_bytes() for out in (one, two)]
    assert weights[0] == weights[1]


def test_run_of_another_config_is_replaced_only_if_told_to(folder: Path, tmp_path: Path) -> None:
    job_ = job(folder, tmp_path).training("")
    config = configs(folder)["rigid_body"]
    assert train_run(job_, config) is not None
    assert train_run(job_, config) is None
    other = replace(config, test_fraction=0.4)
    with pytest.raises(ValueError, match=r"run with test_fraction 0.2, now .* --overwrite"):
        train_run(job_, other)
    assert load(tmp_path / "rigid_body_0").meta.data["split"]["fraction"] == 0.2
    assert train_run(job_._replace(overwrite=True), other) is not None
    assert load(tmp_path / "rigid_body_0").meta.data["split"]["fraction"] == 0.4


def test_folder_with_other_files_is_refused(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "rigid_body_0" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(
        ValueError, match="holds files that are not of a comparison; give another --out"
    ):
        train_run(job(folder, tmp_path).training(""), configs(folder)["rigid_body"])
    assert mine.read_text() == "years of work"


def run_with_errors(name: str, val: float, test: float, template: TrainedRun) -> TrainedRun:
    """Return a copy of a run with other errors."""
    errors = [
        part | {"nmse": part["nmse"] | {"mean": mean, "ci95": [0.9 * mean, 1.1 * mean]}}
        for part, mean in ((template.val, val), (template.test, test))
    ]
    return template._replace(checkpoint=Path(name), val=errors[0], test=errors[1])


def test_families_are_ranked_by_validation_error(folder: Path, tmp_path: Path) -> None:
    config = family_configs(("rigid_body",), folder / "configs")
    (some,) = trained_runs(job(folder, tmp_path), config, 1)
    runs_of = {
        "mlp": [
            run_with_errors("mlp_0", 0.3, 0.1, some),
            run_with_errors("mlp_1", 0.2, 0.9, some),
        ],
        "rigid_body": [run_with_errors("rigid_body_0", 0.23, 0.01, some)],
    }
    result = comparison_report(job(folder, tmp_path), runs_of)
    assert result["best"]["family"] == "mlp" and result["best"]["checkpoint"] == "mlp_1"
    assert result["families"]["mlp"]["nmse"]["mean"] == 0.9
    assert result["best"]["reason"] == "lowest nMSE on validation, 20%; next rigid_body, 23%"
    runs_of["rigid_body"] = [run_with_errors("rigid_body_0", 0.21, 0.99, some)]
    best = comparison_report(job(folder, tmp_path), runs_of)["best"]
    assert best["family"] == "rigid_body", "the interval of mlp_1, 0.18 to 0.22, has it"
    assert best["reason"].endswith(
        "the simplest within the 95% interval of the lowest, mlp with 20%"
    )
    for verdict in ({"reason": "it pushes the wrong way"}, {"rollout_rms": 1.0}):
        model = copy.copy(some.model)
        model.meta = replace(model.meta, data=model.meta.data | {"drive_check": verdict})
        runs_of["rigid_body"] = [runs_of["rigid_body"][0]._replace(model=model)]
        best = comparison_report(job(folder, tmp_path), runs_of)["best"]
        assert best["family"] == "mlp"
        assert best["reason"].endswith("worse to drive with: rigid_body")


@pytest.mark.parametrize(
    ("families", "message"),
    [(("lstm",), "no model family 'lstm'; known are"), (("mlp",), "cannot read .*mlp.yaml")],
)
def test_family_without_a_config_is_refused(
    families: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        family_configs(families, tmp_path)
    with pytest.raises(ValueError, match=r"has no FAMILY.yaml"):
        family_configs((), tmp_path)


def test_families_on_different_splits_are_refused(folder: Path, tmp_path: Path) -> None:
    for family, seed in (("mlp", 0), ("rigid_body", 1)):
        (tmp_path / f"{family}.yaml").write_text(f"family: {family}\nseed: {seed}\n")
    with pytest.raises(ValueError, match=r"rigid_body.yaml: .* seed 1; .*mlp.yaml .* seed 0"):
        family_configs(FAMILIES, tmp_path)


def test_bad_input_is_one_line_and_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(folder / "data"), "--out", str(tmp_path / "out")]
    for extra in (["--seeds", "0"], ["--families", "lstm"], ["--arm", "dofbot"]):
        assert run_verb("compare", [*arguments, *extra]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def home_motion(arm_name: str, seconds: float = 1.0) -> JointSamples:
    """Return a motion that stays at home."""
    arm = robot(arm_name)
    time = np.arange(round(seconds * arm.rate)) / arm.rate
    q = np.tile(arm.home, (len(time), 1))
    return JointSamples(time, q, 0 * q, np.empty((len(time), 0)), time)


def rigid_body_metadata(arm_name: str) -> ModelMetadata:
    """Return the metadata of the rigid-body model of an arm."""
    arm = robot(arm_name)
    data = {"target_mean": [0.0] * arm.n, "urdf_compliance": [0.0] * arm.n}
    names, unit, fields = arm.joint_names, arm.action_unit, {"identify": False}
    return ModelMetadata(
        "rigid_body", arm.name, names, unit, arm.rate, 0.0, arm.rigid_body_urdf(), fields, data
    )


def test_constant_actions_cannot_hold_an_arm_up() -> None:
    task = TrackingTask(robot("ur5"), IDEAL_PLANT, "N m", home_motion("ur5"))
    meta = rigid_body_metadata("ur5")
    fallen = task.baseline_rms(meta)
    held = task.tracking_rms(build(meta))
    assert held == pytest.approx(fallen["rigid_body"])
    assert held < 0.03 < min(fallen[name] for name in ("zero", "mean", "hold_last"))


def test_servos_hold_themselves_up() -> None:
    # without rotors, stiff servos on light links are chaotic at 1 ms steps: rounding errors decide
    dofbot = robot("dofbot")
    task = TrackingTask(dofbot, load_plant("dofbot"), "rad", home_motion("dofbot"))
    runs_of = task.baseline_rms(rigid_body_metadata("dofbot"))
    home = [runs_of[name] for name in ("zero", "mean", "hold_last")]  # the setpoint is home
    assert home == pytest.approx([home[0]] * 3)
    assert home[0] < 0.01


def test_tracking_task_is_fixed_and_in_no_dataset() -> None:
    one, two = (TrackingTask.for_robot(robot("dofbot"), "rad").desired for _ in range(2))
    np.testing.assert_array_equal(one.q, two.q)
    assert np.abs(one.q - excitation_motion(robot("dofbot"), 0, 10.0).q).max() > 0.1


@pytest.mark.slow
def test_servo_arm_is_compared_and_driven(tmp_path: Path) -> None:
    dofbot = robot("dofbot")
    parts = [excitation(dofbot, seed, 0.02, unit="rad", action=setpoint) for seed in range(5)]
    write_dataset(tmp_path / "data", parts, "dofbot", dofbot.rate)
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, "--families", "rigid_body"]) == 0
    rows = comparison_rows(json.loads((tmp_path / "out" / "compare.json").read_text()))
    assert all(row.tracking_rms is not None for row in rows)
    assert "tracking RMS [mrad]" in (tmp_path / "out" / "compare.md").read_text()
