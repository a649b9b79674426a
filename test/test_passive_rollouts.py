from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from invdyn_ros.cli import run_verb
from invdyn_ros.perception.camera import read_video_info
from invdyn_ros.sources.passive_rollouts import (
    PassiveRolloutConfig,
    joint_names,
    load_body,
    passive_rollouts,
)
from invdyn_ros.training.train_time_series import parse_time_series_config, train_time_series


def test_rollouts_are_reproducible_and_integrate_their_velocity() -> None:
    for name, n in (("hopper", 7), ("walker", 9)):
        one, two = (
            list(passive_rollouts(name, PassiveRolloutConfig(3, 40), 123)) for _ in range(2)
        )
        model = load_body(name)
        for a, b in zip(one, two, strict=True):
            assert np.array_equal(a.position, b.position)
            assert (a.position.shape, a.joint_names) == ((40, n), joint_names(model))
            moved = np.diff(a.position, axis=0) / model.opt.timestep
            np.testing.assert_allclose(moved, a.velocity[1:], atol=1e-9)
            assert len(a.action) == 0
        assert not np.array_equal(one[0].position, one[1].position)
    random = np.random.RandomState(123)
    rollout = next(passive_rollouts("hopper", PassiveRolloutConfig(1, 1), 123))
    np.testing.assert_array_equal(rollout.position[0, :2], random.uniform(0, 0.5, 2))


def test_bodies_are_collected_trained_on_and_evaluated_on_the_command_line(tmp_path: Path) -> None:
    data, out, file = tmp_path / "hopper", tmp_path / "bridge", tmp_path / "report.json"
    arguments = [
        "sim",
        "--arm",
        "hopper",
        "--episodes",
        "20",
        "--steps",
        "120",
        "--out",
        str(data),
    ]
    assert run_verb("collect", arguments) == 0
    config = tmp_path / "bridge.yaml"
    config.write_text(
        "family: bridge\nwidth: 16\nmotion_length: 120\n"
        "num_prismatic: 2\ninvariant_joints: [rootx]\n"
    )
    train = ["--config", str(config), "--data", str(data), "--out", str(out), "--epochs", "2"]
    assert run_verb("train", train) == 0
    benchmark_words = [
        "time_series",
        "--data",
        str(data),
        "--models",
        str(out),
        "--observed-fractions",
        "0.1",
        "0.5",
    ]
    assert (
        run_verb("benchmark", [*benchmark_words, "--context-lengths", "60", "--report", str(file)])
        == 0
    )
    report = json.loads(file.read_text())
    rows = report["rows"]
    assert {"hold", "linear", "pchip", "hermite", "bridge", "bridge, untrained"} < rows.keys()
    assert rows["paper: latent ODE"]["10%"] == 0.36
    for row in ("linear", "bridge"):
        assert rows[row]["50%"] < rows[row]["10%"] < rows[row]["60->60 10%"]
        assert report["details"][row]["10%"]["hidden"] > rows[row]["10%"]
    assert (
        run_verb("benchmark", [*benchmark_words, "--test-fraction", "0.5"]) == 2
    )  # the training data
    assert (tmp_path / "report_gaps.png").stat().st_size > 10_000


def test_video_contains_a_body_before_and_after_training(tmp_path: Path) -> None:
    data, out, stem = tmp_path / "walker", tmp_path / "bridge", tmp_path / "films" / "walker"
    arguments = ["sim", "--arm", "walker", "--episodes", "10", "--steps", "60", "--out", str(data)]
    assert run_verb("collect", arguments) == 0
    fields = {
        "family": "bridge",
        "motion_length": 60,
        "width": 16,
        "epochs": 1,
        "num_prismatic": 2,
    }
    train_time_series(parse_time_series_config(fields, ""), data, out)
    benchmark_words = [
        "trajectories",
        "--data",
        str(data),
        "--checkpoint",
        str(out),
        "--out",
        str(stem),
    ]
    assert run_verb("visualize", [*benchmark_words, "--samples", "20", "--start", "40"]) == 0
    info = read_video_info(stem.with_suffix(".mp4"))
    assert (info.width, info.height, info.num_frames) == (1280, 720, 20)
    with Image.open(stem.with_suffix(".gif")) as gif:
        assert (gif.size, getattr(gif, "n_frames", 1)) == ((720, 405), 10)
        first = np.asarray(gif.convert("RGB"))
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 10
    assert run_verb("visualize", [*benchmark_words, "--samples", "21", "--start", "40"]) == 2
    assert run_verb("visualize", [*benchmark_words, "--samples", "20", "--motion", "2"]) == 2
