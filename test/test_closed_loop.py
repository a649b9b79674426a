from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import robot
from plant_oracle import BulletOracle

from invdyn_ros.benchmarks.closed_loop import (
    GEAR_FRICTION,
    MOTION_SEED,
    ClosedLoopBenchmarkConfig,
    collect_data,
    drive,
    jerk,
    rms_interval,
)
from invdyn_ros.benchmarks.closed_loop_models import (
    NO_MODEL,
    NOMINAL_URDF,
    PD_ROTOR,
    RIGHT_URDF,
    WRONG_INERTIA,
    WRONG_URDF,
    ModelUnderTest,
    wrong_urdf,
)
from invdyn_ros.benchmarks.closed_loop_motions import KINDS
from invdyn_ros.cli import run_verb
from invdyn_ros.cli.benchmark import main
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import ClosedLoopRun, excitation_motion
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody, urdf_model
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import UrdfTree


def wrong_model() -> MujocoRigidBody:
    right = urdf_model(robot("ur5"), "N m")
    return MujocoRigidBody(replace(right.meta, urdf=wrong_urdf(robot("ur5").rigid_body_urdf())))


def motion(arm: Robot) -> JointSamples:
    return excitation_motion(arm, (MOTION_SEED, 0), 2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_motions_start_at_rest_and_keep_the_limits(kind: str) -> None:
    ur5 = robot("ur5")
    desired = KINDS[kind](ur5, (1,), 6.0)
    assert np.abs(desired.qd[0]).max() < 1e-3
    assert (np.abs(desired.qd) <= 1.01 * ur5.velocity).all()
    assert ((desired.q >= ur5.lower) & (desired.q <= ur5.upper)).all()
    assert np.ptp(desired.q, axis=0).max() > 0.2
    np.testing.assert_allclose(
        np.gradient(desired.q, desired.time, axis=0)[1:-1], desired.qd[1:-1], atol=0.05
    )


def test_wrong_urdf_has_the_right_masses_and_the_wrong_inertia_of_the_wrist_only() -> None:
    ur5 = robot("ur5")
    right, wrong = UrdfTree(ur5.rigid_body_urdf()), UrdfTree(wrong_urdf(ur5.rigid_body_urdf()))
    for name in ur5.joint_names:
        J, K = (tree.pseudo_inertia(name, ur5.joint_names) for tree in (right, wrong))
        np.testing.assert_allclose(J[3], K[3])  # mass and first moments
        changed = right.joints[name].child in WRONG_INERTIA
        assert np.allclose(J, K) != changed
    with pytest.raises(ValueError, match="no link 'wrist_1_link'"):
        wrong_urdf(robot("dofbot").rigid_body_urdf())


def test_wrong_urdf_drives_worse_than_the_right_one() -> None:
    ur5, result = robot("ur5"), {}
    for name, model in ((RIGHT_URDF, urdf_model(ur5, "N m")), (WRONG_URDF, wrong_model())):
        (run,) = drive(ModelUnderTest(name, model, 0.004), [motion(ur5)], ur5, IDEAL_PLANT)
        result[name] = run.rms
    assert 3 * result[RIGHT_URDF] < result[WRONG_URDF]


def test_compensating_the_delay_helps_an_exact_model() -> None:
    ur5, late = robot("ur5"), replace(IDEAL_PLANT, delay=0.008)
    twin = BulletOracle(ur5, late)
    with_lead, without = (
        drive(ModelUnderTest("twin", twin, delay), [motion(ur5)], ur5, late)[0].rms
        for delay in (0.012, 0.0)
    )
    assert with_lead < 0.5 * without


def test_jerk_of_a_constant_command_is_zero_and_of_a_ramp_its_slope() -> None:
    ur5 = robot("ur5")
    time = np.arange(50)[:, None] / ur5.rate
    still = np.zeros((50, 6))
    for slope in (0.0, 0.25):
        run = ClosedLoopRun(
            time[:, 0], still, still, 1.0 + slope * time * ur5.effort, np.zeros(50, bool)
        )
        np.testing.assert_allclose(jerk(run, ur5), slope, atol=1e-9)


def test_interval_contains_the_root_mean_square_and_grows_with_the_std() -> None:
    squares = np.random.default_rng(0).uniform(1.0, 3.0, 12)
    low, high = rms_interval(list(squares))
    assert low < np.sqrt(squares.mean()) < high
    assert rms_interval([4.0, 4.0, 4.0]) == pytest.approx((2.0, 2.0))


@pytest.mark.slow
def test_benchmark_collects_trains_drives_and_plots(tmp_path: Path) -> None:
    config = ClosedLoopBenchmarkConfig(tmp_path, minutes=0.25, motions=1, seconds=1.5)
    arguments = ["--out", str(tmp_path), "--report", str(tmp_path / "report.json")]
    arguments += ["--families", "rigid_body", "--minutes", "0.25", "--motions", "1"]
    arguments += ["--kinds", "excitation", "point to point"]
    assert main(["closed_loop", *arguments, "--seconds", "1.5"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    rows = report["rows"]
    names = [NO_MODEL, PD_ROTOR, WRONG_URDF, RIGHT_URDF, NOMINAL_URDF, "rigid_body"]
    assert list(rows) == names
    assert 3 * rows[PD_ROTOR]["point to point"] < rows[NO_MODEL]["point to point"]
    for row in rows.values():
        assert 0 < row["low"] <= row["excitation"] <= row["high"] and row["jerk"] > 0
    assert report["ratio"]["rigid_body"]["point to point"] < 1
    assert (tmp_path / "closed_loop.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "data" / "meta" / "info.json").stat().st_mtime_ns
    plant = load_plant("ur5", payload=1.0, **GEAR_FRICTION)
    assert collect_data(config, robot("ur5"), plant) == tmp_path / "data"
    assert (tmp_path / "data" / "meta" / "info.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--arm", "dofbot"), "driven by setpoints"),
        (("--arm", "kuka_iiwa"), "no link 'wrist_1_link'"),
        (("--motions", "0"), "motions is 0"),
        (("--data", "no/such"), "no/such is not a dataset"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("benchmark", ["closed_loop", "--out", str(tmp_path / "out"), *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
