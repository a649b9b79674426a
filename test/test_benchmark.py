import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from oracle import exciting

from invdyn_ros.benchmarks.blocks import OURS as BLOCKS
from invdyn_ros.benchmarks.blocks import PLAIN, SUBPIXEL, TRACKED, flipped
from invdyn_ros.benchmarks.data_efficiency import DataEfficiencyConfig, clips
from invdyn_ros.benchmarks.dynamics import MUJOCO, PYBULLET, Peers, random_motion
from invdyn_ros.benchmarks.handeye import BOUND, OURS, PEERS
from invdyn_ros.benchmarks.latency import LatencyConfig
from invdyn_ros.benchmarks.model import ModelConfig, untrained
from invdyn_ros.benchmarks.report import quantiles, table
from invdyn_ros.benchmarks.simulation import SimulationConfig, rates_in_turn
from invdyn_ros.cli.benchmark import main
from invdyn_ros.dynamics import RigidBodyTree
from invdyn_ros.models import MODELS, build
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.inverse_dynamics import Meta
from invdyn_ros.robot import load_robot

CONFIGS = Path(__file__).parents[1] / "config" / "train"
ABOUT = {"cpu", "cores", "load_average", "system", "python", "torch", "torch_threads", "date"}


def make_checkpoint(folder, arm):
    """A rigid-body model with the parameters of the URDF: no training needed."""
    robot = load_robot(arm)
    meta = Meta(
        "rigid_body",
        robot.name,
        robot.joint_names,
        robot.action_unit,
        robot.rate,
        0.01,
        robot.xml(),
        {"identify": False},
    )
    save(build(meta), meta, folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "arm", "ur5")


def report_of(tmp_path, *words):
    file = tmp_path / "deep" / "report.json"
    assert main([*map(str, words), "--report", str(file)]) == 0
    report = json.loads(file.read_text())
    assert set(report["machine"]) >= ABOUT and len(report["machine"]["load_average"]) == 3
    return report


def test_latency_beside_an_echo_through_real_dds(checkpoint, tmp_path, capfd):
    words = ("--checkpoint", checkpoint, "--seconds", 4, "--block", 1)
    report = report_of(tmp_path, "latency", *words)
    assert report["unit"] == "ms" and report["settings"]["rate_hz"] == 125
    assert report["machine"]["torch_threads"] == 1
    for row in report["rows"].values():
        # a busy machine sends late, and late ticks are not made up for
        assert 20 < row["sent"] <= 2 * 126
        assert row["answered"] >= 0.8 * row["sent"]  # a full queue drops the oldest
        assert 0 < row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
    ours, echo = report["rows"]["inverse_dynamics"], report["rows"]["echo"]
    ratio = report["ratio"]["inverse_dynamics"]
    assert ratio["p99"] == pytest.approx(ours["p99"] / echo["p99"], abs=1e-3)
    assert "latency [ms] on" in capfd.readouterr().out


def test_a_model_live_exported_and_in_eager_pytorch(checkpoint, tmp_path, capfd):
    words = ("--checkpoint", checkpoint, "--calls", 200)
    report = report_of(tmp_path, "model", *words)
    ways = {"live", "live whole tick", "eager PyTorch", "eager PyTorch whole tick"}
    ways |= {"onnxruntime", "mj_inverse"}
    assert set(report["rows"]) == {f"arm (rigid_body), {way}" for way in ways}
    for row in report["rows"].values():
        assert 0 < row["p50"] <= row["p99"] <= row["max"]
    assert report["ratio"]["arm, live to eager PyTorch"]["p50"] < 1  # compiled, without torch
    assert report["settings"]["not_exported"] == {}
    assert "arm, live to eager PyTorch, ratio" in capfd.readouterr().out


def test_batched_dynamics_beside_mujoco_and_pybullet(tmp_path, capfd):
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
    tree = RigidBodyTree.from_urdf(robot.xml(), robot.joint_names)
    last = [torch.from_numpy(x[-1]) for x in random_motion(robot.n, 3)]
    for call, count in peers.calls(3).values():
        assert count == 3
        np.testing.assert_allclose(call(), tree.torque(*last), atol=1e-6)
    peers.close()


def test_untrained_models_stand_in_for_families_that_are_not_shipped():
    models = untrained()
    assert {model.meta.family for model in models.values()} | {"rigid_body"} == set(MODELS)
    wide = [
        module.weight.shape
        for module in models["untrained 4x512"].modules()
        if hasattr(module, "weight")
    ]
    assert wide.count((512, 512)) == 3 and not models["untrained 4x512"].training


def test_training_beside_a_data_loader_and_its_steps_alone(tmp_path):
    words = ("--config", CONFIGS / "mlp.yaml", "--width", 16, "--windows", 2000, "--rounds", 1)
    report = report_of(tmp_path, "training", *words)
    ours, loader, steps = (
        report["rows"][f"mlp ({name})"] for name in ("our loop", "DataLoader", "steps alone")
    )
    for row in (ours, loader, steps):  # 2000 windows are four batches
        seconds = 4 * row["ms_per_step"] / 1e3
        assert row["windows_per_s"] == pytest.approx(2000 / seconds, rel=0.01)
    ratio = report["ratio"]["mlp / DataLoader"]["windows_per_s"]
    assert ratio == pytest.approx(ours["windows_per_s"] / loader["windows_per_s"], abs=1e-3)
    with pytest.raises(ValueError, match="rigid_body is solved in closed form"):
        main(["training", "--config", str(CONFIGS / "rigid_body.yaml")])


@pytest.mark.parametrize("arm", ["dofbot", "kuka_iiwa"])
def test_simulation_and_camera_beside_raw_pybullet(arm, tmp_path):
    report = report_of(tmp_path, "simulation", "--arm", arm, "--seconds", 1)
    steps = {n: row["physics steps/s"] for n, row in list(report["rows"].items())[:3]}
    assert min(steps.values()) > 0 and len(report["rows"]) == 5
    assert report["rows"]["camera"]["640x480 pictures/s"] > 0
    assert report["ratio"]["simulation"]["physics steps/s"] == pytest.approx(
        steps["simulation"] / steps["raw stepSimulation"], abs=1e-3
    )


def test_table_of_steps_and_temperatures_on_two_actions_for_a_motion(tmp_path, capfd):
    words = ("--samples", 200, "--motions", 20, "--draws", 10, "--epochs", 2)
    report = report_of(tmp_path, "multimodal", *words, "--steps", 2, "--temperatures", 0)
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


def test_cameras_are_found_as_well_as_the_noise_allows_and_better_than_by_opencv(tmp_path):
    report = report_of(tmp_path, "handeye", "--trials", 40, "--pictures", 2)
    pictured = report["rows"][f"{OURS}, pictures"]
    assert pictured["mm p95"] < 1.0 and pictured["deg p95"] < 0.1
    peers = [name for name in PEERS if hasattr(cv2, PEERS[name])]  # OpenCV 5 has none
    for mounting in ("beside", "hand"):
        ours, bound = (report["rows"][f"{name}, {mounting}"] for name in (OURS, BOUND))
        assert ours["mm p50"] < 1.0 and ours["deg p50"] < 0.1
        # medians of 40 trials stray by a sixth
        assert ours["mm p50"] < 1.5 * bound["mm p50"] and ours["deg p50"] < 1.5 * bound["deg p50"]
        for peer in peers:
            ratio = report["ratio"][f"{OURS} to {peer}, {mounting}"]
            assert max(ratio.values()) < 0.7


def test_rates_count_events_and_every_call_has_its_turn():
    calls = {"one": 0, "five": 0}

    def call(name):
        calls[name] += 1

    found = rates_in_turn(
        {n: (lambda n=n: call(n), e) for n, e in (("one", 1), ("five", 5))}, 0.02
    )
    assert min(calls.values()) > 1 and min(found.values()) > 0


def test_quantiles_of_known_values():
    found = quantiles(np.arange(101.0), (50, 99))
    assert found == {"p50": 50.0, "p99": 99.0, "max": 100.0}
    with pytest.raises(ValueError, match="nothing was measured"):
        quantiles([], (50,))


def test_a_table_leaves_blank_what_does_not_apply():
    report = {
        "benchmark": "b",
        "unit": "1/s",
        "machine": {"cores": 2, "cpu": "c", "load_average": [0.5, 0, 0]},
        "rows": {"steps": {"x": 12345.6}, "pictures": {"y": 1.25}},
        "ratio": {"steps": {"x": 0.5}},
    }
    assert table(report).splitlines() == [
        "b [1/s] on 2 x c, load 0.5",
        "                  x     y",
        "steps         12346",
        "pictures             1.25",
        "steps, ratio    0.5",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("latency", "--arm", "ur3"), "unknown arm 'ur3'"),
        (("dynamics", "--arm", "ur3"), "unknown arm 'ur3'"),
        (("dynamics", "--batches", "0"), r"batches is \(0,\); it must hold sizes of at least 1"),
        (("dynamics", "--seconds", "0"), "seconds is 0.0; it must be positive"),
        (("latency", "--checkpoint", "no/such"), "no checkpoint folder no/such"),
        (("model", "--checkpoint", "no/such"), "no checkpoint folder no/such"),
        (("simulation", "--arm", "ur10"), "there is no scene for 'ur10'; there are ur5, ur5e"),
        (("handeye", "--arm", "ur3"), "unknown arm 'ur3'"),
        (("handeye", "--arm", "ur10", "--trials", "1", "--pictures", "1"), "ur10 holds no block"),
        (("handeye", "--poses", "4"), "poses is 4; it must be at least 6"),
        (("handeye", "--rotation-noise", "0"), r"rotation_noise is 0\.0; it must be positive"),
        (("multimodal", "--samples", "3"), "samples is 3; it must be at least 10"),
        (("simulation", "--report", "out.txt"), "--report out.txt is not a .json file"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(words, message):
    with pytest.raises((ValueError, OSError), match=message):
        main(list(words))


def test_a_checkpoint_of_another_arm_is_refused(checkpoint):
    with pytest.raises(ValueError, match="'dofbot' has joint_1"):
        main(["latency", "--arm", "dofbot", "--checkpoint", str(checkpoint)])


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (LatencyConfig(), {"seconds": 3.0}, "both sides need a block"),
        (LatencyConfig(), {"domain": 233}, "domain is 233; right are 1 to 232"),
        (
            ModelConfig(checkpoint=(Path("c"),)),
            {"calls": 10},
            "calls is 10; it must be at least",
        ),
        (SimulationConfig(), {"seconds": float("nan")}, "seconds is nan"),
    ],
)
def test_settings_that_cannot_measure_are_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **change)


@pytest.mark.slow
def test_data_efficiency_compares_families_on_the_same_few_samples(tmp_path):
    words = "data_efficiency --arm ur5 --minutes 1 --families rigid_body mlp --seeds 2"
    report = report_of(tmp_path, *words.split(), "--sizes", 50, "--epochs", 2)
    assert set(report["rows"]) == {
        "rigid_body", "rigid_body, moving", "mlp", "mlp, moving"
    }  # fmt: skip
    rigid, mlp = (report["curves"][family]["50"]["moving"] for family in ("rigid_body", "mlp"))
    # moving joints hold no secrets from a rigid body with friction
    assert rigid["high"] < 2.0 < 10.0 < mlp["low"]
    assert len(rigid["draws"]) == 2 and rigid["low"] <= rigid["mean"] <= rigid["high"]
    assert (tmp_path / "deep" / "report.png").stat().st_size > 10_000


def test_clips_share_no_sample_and_keep_their_order():
    parts = [exciting(load_robot("ur5"), seed, seconds=1.0) for seed in range(3)]
    drawn = clips(parts, 20, 7, np.random.default_rng(0))
    rows = np.concatenate([clip.position for clip in drawn])
    assert len(drawn) == 20 and {len(clip) for clip in drawn} == {7}
    assert len(np.unique(rows, axis=0)) == len(rows) == 140
    with pytest.raises(ValueError, match="400 clips of 7 samples are wanted, the data hold 51"):
        clips(parts, 400, 7, np.random.default_rng(0))


def test_data_efficiency_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="no model family 'lstm'"):
        DataEfficiencyConfig(families=("lstm",))
    with pytest.raises(ValueError, match="at least one family, 10 samples"):
        DataEfficiencyConfig(sizes=(5,))


def test_blocks_beside_opencv(tmp_path, capfd):
    picture = tmp_path / "new" / "errors.png"
    report = report_of(tmp_path, "blocks", "--blocks", 60, "--frames", 2, "--picture", picture)
    rows = {name: report["rows"][f"{name}, all over 36 px"] for name in (BLOCKS, PLAIN, SUBPIXEL)}
    ours = rows[BLOCKS]
    assert ours["found"] == 100 and ours["xy p95"] < 1.0 and ours["deg p95"] < 3.0
    assert ours["in 95%"] > 85 and "in 95%" not in rows[PLAIN]
    for peer in (PLAIN, SUBPIXEL):
        assert report["ratio"][f"{BLOCKS} to {peer}, all over 36 px"]["deg p95"] < 1.0
    assert report["rows"][f"{TRACKED}, all over 20 px"]["n"] == 60
    assert cv2.imread(str(picture)).shape[0] > 300
    assert "flips high" in capfd.readouterr().out


def test_flipped_is_a_face_tilted_to_the_wrong_side():
    truth = np.eye(4)
    truth[:3, :3] = cv2.Rodrigues(np.array([np.pi - 0.3, 0.0, 0.0]))[0]
    truth[:3, 3] = 0.0, 0.0, 1.0
    wrong, near = truth.copy(), truth.copy()
    wrong[:3, :3] = cv2.Rodrigues(np.array([np.pi + 0.28, 0.0, 0.0]))[0]
    near[:3, :3] = cv2.Rodrigues(np.array([np.pi - 0.5, 0.0, 0.0]))[0]
    assert flipped(wrong, truth)
    assert not flipped(near, truth) and not flipped(truth, truth)


def test_blocks_refuses_an_unknown_noise_before_it_draws():
    with pytest.raises(ValueError, match="no noise 'loud'"):
        main(["blocks", "--noise", "loud"])
