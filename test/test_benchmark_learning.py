"""Benchmarks of training: speed, multimodal actions, data efficiency and planning."""

from pathlib import Path

import numpy as np
import pytest
from benchmark_report import report_of
from oracle import excitation

from invdyn_ros.benchmarks.data_efficiency import DataEfficiencyBenchmarkConfig, clips
from invdyn_ros.cli.benchmark import main
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.robots.robot import load_robot

CONFIGS = Path(__file__).parents[1] / "config" / "train"


def test_training_benchmark_compares_with_a_data_loader_and_its_steps_alone(tmp_path):
    arguments = ("--config", CONFIGS / "mlp.yaml", "--width", 16, "--windows", 2000, "--rounds", 1)
    report = report_of(tmp_path, "training", *arguments)
    ours, loader, steps = (
        report["rows"][f"mlp ({name})"] for name in ("Trainer", "DataLoader", "steps alone")
    )
    for row in (ours, loader, steps):  # 2000 windows are four batches
        seconds = 4 * row["ms_per_step"] / 1e3
        assert row["windows_per_s"] == pytest.approx(2000 / seconds, rel=0.01)
    ratio = report["ratio"]["mlp / DataLoader"]["windows_per_s"]
    assert ratio == pytest.approx(ours["windows_per_s"] / loader["windows_per_s"], abs=1e-3)
    with pytest.raises(ValueError, match="rigid_body has a closed-form"):
        main(["training", "--config", str(CONFIGS / "rigid_body.yaml")])


def test_multimodal_benchmark_covers_all_steps_and_temperatures(tmp_path, capfd):
    arguments = ("--train-samples", 200, "--test-motions", 20, "--draws", 10, "--epochs", 2)
    report = report_of(tmp_path, "multimodal", *arguments, "--steps", 2, "--temperatures", 0)
    assert report["rows"]["best single action"]["nmse"] == pytest.approx(100)
    assert report["rows"]["mlp"]["nmse"] >= 100
    sweep = {f"flow, T {t}, {steps} steps" for t in (0, 1) for steps in (2, 4, 100)}
    assert sweep <= set(report["rows"])
    for name in sweep:
        assert 0 <= report["rows"][name]["near_mode"] <= 100
    few, many = (report["rows"][f"flow, T 1, {steps} steps"] for steps in (4, 100))
    ratio = report["ratio"]["4 steps to 100"]
    assert ratio["error"] == pytest.approx(few["error"] / many["error"], abs=1e-3)
    assert "multimodal [%] on" in capfd.readouterr().out


@pytest.mark.slow
def test_plans_from_little_data_end_nearer_to_the_goal_than_random_actions(tmp_path):
    """The gain of exchanging the model needs more data than a test has; docs/results has it."""
    arguments = (
        "--num-seeds 1 --episodes 1 --num-recordings 10 --planner-epochs 6 --epochs 10 --threads 1"
    )
    report = report_of(tmp_path, "planning", *arguments.split())
    rows = report["rows"]
    assert rows["random"]["return"] == 0 and rows["plan + inverse model"]["return"] == 100
    assert rows["plan + inverse model"]["score"] > rows["random"]["score"]
    assert all(row["low"] <= row["return"] <= row["high"] for row in rows.values() if "low" in row)
    assert 0 < rows["one step, 1 threads"]["p50"] <= rows["one step, 1 threads"]["p99"]
    for name in ("states", "smoothness"):
        assert (tmp_path / "deep" / f"report_{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_data_efficiency_compares_families_on_the_same_few_samples(tmp_path):
    ur5 = load_robot("ur5")
    parts = [excitation(ur5, seed) for seed in range(5)]
    write_dataset(tmp_path / "data", parts, "ur5", ur5.rate)
    arguments = (
        "data_efficiency --arm ur5 --families rigid_body mlp --seeds 2 --sizes 50 --epochs 2"
    )
    report = report_of(tmp_path, *arguments.split(), "--data", tmp_path / "data")
    assert set(report["rows"]) == {
        "rigid_body", "rigid_body, moving", "mlp", "mlp, moving"
    }  # fmt: skip
    rigid, mlp = (report["curves"][family]["50"]["moving"] for family in ("rigid_body", "mlp"))
    # the rigid body with friction is exact for moving joints
    assert rigid["high"] < 2.0 < 10.0 < mlp["low"]
    assert len(rigid["draws"]) == 2 and rigid["low"] <= rigid["mean"] <= rigid["high"]
    assert (tmp_path / "deep" / "report.png").stat().st_size > 10_000


def test_clips_share_no_sample_and_keep_their_order():
    parts = [excitation(load_robot("ur5"), seed, seconds=1.0) for seed in range(3)]
    drawn = clips(parts, 20, 7, np.random.default_rng(0))
    rows = np.concatenate([clip.position for clip in drawn])
    assert len(drawn) == 20 and {len(clip) for clip in drawn} == {7}
    assert len(np.unique(rows, axis=0)) == len(rows) == 140
    with pytest.raises(ValueError, match="400 clips of 7 samples are needed, the data have 51"):
        clips(parts, 400, 7, np.random.default_rng(0))


def test_data_efficiency_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="no model family 'lstm'"):
        DataEfficiencyBenchmarkConfig(families=("lstm",))
    with pytest.raises(ValueError, match="at least one family, 10 samples"):
        DataEfficiencyBenchmarkConfig(sizes=(5,))
