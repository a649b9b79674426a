"""Benchmarks: measurements, reports and refused input."""

import json
import os
import pkgutil
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from benchmark_report import report_of

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.dynamics import MUJOCO, PYBULLET, Peers, random_motion
from invdyn_ros.benchmarks.latency import LatencyBenchmarkConfig
from invdyn_ros.benchmarks.model import ModelBenchmarkConfig, untrained_models
from invdyn_ros.benchmarks.report import format_table, quantiles
from invdyn_ros.benchmarks.simulation import SimulationBenchmarkConfig, rates_in_turn
from invdyn_ros.cli import run_verb
from invdyn_ros.cli.benchmark import BENCHMARKS, load_benchmark, main
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import load_robot


def make_checkpoint(folder, arm):
    """A rigid-body model with the parameters of the URDF: no training needed."""
    robot = load_robot(arm)
    meta = ModelMetadata(
        "rigid_body",
        robot.name,
        robot.joint_names,
        robot.action_unit,
        robot.rate,
        0.01,
        robot.rigid_body_urdf(),
        {"identify": False},
    )
    save(build(meta), meta, folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "arm", "ur5")


@pytest.mark.slow
def test_latency_benchmark_compares_with_an_echo_through_real_dds(checkpoint, tmp_path, capfd):
    arguments = ("--checkpoint", checkpoint, "--seconds", 4, "--turn-seconds", 1)
    report = report_of(tmp_path, "latency", *arguments)
    assert report["unit"] == "ms" and report["settings"]["rate_hz"] == 125
    assert report["machine"]["torch_threads"] == 1
    for row in report["rows"].values():
        # a busy machine is late, and late ticks are skipped
        assert 20 < row["sent"] <= 2 * 126
        assert row["received"] >= 0.8 * row["sent"]  # a full queue drops the oldest
        assert 0 < row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
    ours, echo = report["rows"]["inverse_dynamics"], report["rows"]["echo"]
    ratio = report["ratio"]["inverse_dynamics"]
    assert ratio["p99"] == pytest.approx(ours["p99"] / echo["p99"], abs=1e-3)
    assert "latency [ms] on" in capfd.readouterr().out


def test_model_benchmark_times_live_exported_and_eager_models(checkpoint, tmp_path, capfd):
    arguments = ("--checkpoint", checkpoint, "--calls", 200)
    report = report_of(tmp_path, "model", *arguments)
    names = {"live", "live whole tick", "eager PyTorch", "eager PyTorch whole tick"}
    names |= {"onnxruntime", "mj_inverse"} | ({"C"} if shutil.which("cc") else set())
    assert set(report["rows"]) == {f"arm (rigid_body), {name}" for name in names}
    for row in report["rows"].values():
        assert 0 < row["p50"] <= row["p99"] <= row["max"]
    assert report["ratio"]["arm, live to eager PyTorch"]["p50"] < 1  # compiled, without torch
    assert report["settings"]["not_exported"] == {}
    assert "arm, live to eager PyTorch, ratio" in capfd.readouterr().out


def test_dynamics_benchmark_compares_with_mujoco_and_pybullet(tmp_path, capfd):
    report = report_of(tmp_path, "dynamics", "--batches", 1, 100, "--seconds", 0.1)
    torch_rows = {"torch float64 cpu", "torch float32 cpu"}
    assert set(report["rows"]) >= torch_rows | {MUJOCO, PYBULLET}
    for row in report["rows"].values():
        assert list(row) == ["batch 1", "batch 100"]
        assert min(row.values()) > 0
    assert set(report["ratio"]) >= {f"{name} to {MUJOCO}" for name in torch_rows}
    assert "dynamics [evaluations/s] on" in capfd.readouterr().out


def test_peers_of_the_dynamics_benchmark_compute_the_same_torques():
    robot = load_robot("kuka_iiwa")
    peers = Peers(robot)
    tree = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)
    last = [torch.from_numpy(x[-1]) for x in random_motion(robot.n, 3)]
    for call, count in peers.calls(3).values():
        assert count == 3
        np.testing.assert_allclose(call(), tree.torque(*last), atol=1e-6)
    peers.close()


def test_families_that_are_not_shipped_are_measured_untrained():
    models = untrained_models()
    assert {model.meta.family for model in models.values()} | {"rigid_body", "hybrid"} == {
        name for name, family in MODELS.items() if family.input_type == "motion"
    }
    wide = [
        module.weight.shape
        for module in models["untrained 4x512"].modules()
        if hasattr(module, "weight")
    ]
    assert wide.count((512, 512)) == 3 and not models["untrained 4x512"].training


@pytest.mark.parametrize("arm", ["dofbot", "kuka_iiwa"])
def test_simulation_benchmark_compares_with_raw_pybullet(arm, tmp_path):
    report = report_of(tmp_path, "simulation", "--arm", arm, "--seconds", 1)
    steps = {n: row["physics steps/s"] for n, row in list(report["rows"].items())[:3]}
    assert min(steps.values()) > 0 and len(report["rows"]) == 5
    assert report["rows"]["camera"]["640x480 images/s"] > 0
    assert report["ratio"]["simulation"]["physics steps/s"] == pytest.approx(
        steps["simulation"] / steps["raw stepSimulation"], abs=1e-3
    )


def test_rates_count_events_and_every_call_has_its_turn():
    calls = {"one": 0, "five": 0}

    def call(name):
        calls[name] += 1

    result = rates_in_turn(
        {n: (lambda n=n: call(n), e) for n, e in (("one", 1), ("five", 5))}, 0.02
    )
    assert min(calls.values()) > 1 and min(result.values()) > 0


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_of_the_table_has_a_config_with_a_report_file(name):
    config = get_type_hints(load_benchmark(name))["config"]
    assert issubclass(config, BenchmarkOptions) and config.__doc__


def test_help_lists_every_benchmark_and_an_unknown_one_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert listed == list(BENCHMARKS)
    for arguments in ([], ["speed"]):
        with pytest.raises(
            ValueError, match=f"no benchmark '{''.join(arguments)}'; there are block_"
        ):
            main(arguments)


def test_quantiles_of_known_values():
    result = quantiles(np.arange(101.0), (50, 99))
    assert result == {"p50": 50.0, "p99": 99.0, "max": 100.0}
    with pytest.raises(ValueError, match="nothing was measured"):
        quantiles([], (50,))


def test_missing_columns_of_a_table_are_blank():
    report = {
        "benchmark": "b",
        "unit": "1/s",
        "machine": {"cores": 2, "cpu": "c", "load_average": [0.5, 0, 0]},
        "rows": {"steps": {"x": 12345.6}, "pictures": {"y": 1.25}},
        "ratio": {"steps": {"x": 0.5}},
    }
    assert format_table(report).splitlines() == [
        "b [1/s] on 2 x c, load 0.5",
        "                  x     y",
        "steps         12346",
        "pictures             1.25",
        "steps, ratio    0.5",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("latency", "--arm", "ur3"), "unknown arm 'ur3'"),
        (("dynamics", "--arm", "ur3"), "unknown arm 'ur3'"),
        (("dynamics", "--batches", "0"), r"batches\[0\] is 0; it must be greater than 0"),
        (("dynamics", "--seconds", "0"), "seconds is 0.0; it must be greater than 0"),
        (("latency", "--checkpoint", "no/such"), "no checkpoint folder no/such"),
        (("model", "--checkpoint", "no/such"), "no checkpoint folder no/such"),
        (
            ("simulation", "--arm", "ur10"),
            "there is no scene for 'ur10'; arms with one are ur5, ur5e",
        ),
        (("hand_eye", "--arm", "ur3"), "unknown arm 'ur3'"),
        (("hand_eye", "--arm", "ur10", "--trials", "1", "--images", "1"), "ur10 holds no block"),
        (("hand_eye", "--poses", "4"), "poses is 4; it must be greater than or equal to 6"),
        (
            ("hand_eye", "--rotation-noise", "0"),
            r"rotation_noise is 0\.0; it must be greater than 0",
        ),
        (
            ("multimodal", "--train-samples", "3"),
            "train_samples is 3; it must be greater than or equal to 10",
        ),
        (("planning", "--shifted-mass", "0"), "shifted_mass is 0.0; it must be greater than 0"),
        (
            ("planning", "--num-recordings", "2"),
            "num_recordings is 2; it must be greater than or equal to 10",
        ),
        (("simulation", "--report", "out.txt"), "--report out.txt is not a .json file"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(arguments, message):
    with pytest.raises((ValueError, OSError), match=message):
        main(list(arguments))


def test_a_checkpoint_of_another_arm_is_refused(checkpoint):
    with pytest.raises(ValueError, match="'dofbot' has joint_1"):
        main(["latency", "--arm", "dofbot", "--checkpoint", str(checkpoint)])


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (LatencyBenchmarkConfig(), {"seconds": 3.0}, "one turn for each"),
        (LatencyBenchmarkConfig(), {"domain": 233}, "domain is 233; it must be 1 to 232"),
        (
            ModelBenchmarkConfig(checkpoint=(Path("c"),)),
            {"calls": 10},
            "calls is 10; it must be greater than or equal to",
        ),
        (SimulationBenchmarkConfig(), {"seconds": float("nan")}, "seconds is nan"),
    ],
)
def test_invalid_settings_are_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **change)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("dynamics.rates_in_turn", "dynamics --batches 1 2 --seconds 0.02"),
        (
            "file_worker.Worker.run",
            "files --files 4 --commands 0 --kinds obstacles.yaml",
        ),
    ],
)
def test_interrupted_benchmark_reports_the_cases_it_has_measured(
    case, words, tmp_path, monkeypatch, capfd
):
    owner, name = f"invdyn_ros.benchmarks.{case}".rsplit(".", 1)
    owner = pkgutil.resolve_name(owner)
    measure, calls = getattr(owner, name), []

    def interrupted_at_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(*arguments)

    monkeypatch.setattr(owner, name, interrupted_at_second)
    file = tmp_path / "report.json"
    assert run_verb("benchmark", [*words.split(), "--report", str(file)]) == 130
    report = json.loads(file.read_text())
    assert report["rows"] and report["run"]["interrupted"]
    assert file.with_suffix(".html").exists() and len(calls) < 4
