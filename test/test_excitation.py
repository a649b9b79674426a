from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import robot

from invdyn_ros.benchmarks.closed_loop import MOTION_SEED
from invdyn_ros.benchmarks.safety_checks import ContactProbe
from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.evaluation.closed_loop import excitation_motion
from invdyn_ros.robots.obstacles import FREE_SPACE
from invdyn_ros.robots.registry import ROBOTS, load_plant
from invdyn_ros.sources.excitation.fourier_series import (
    ExcitationConfig,
    ExcitationTrajectory,
    FreeExcitations,
)
from invdyn_ros.sources.excitation.optimal import (
    FisherInformation,
    fedorov_exchange,
    optimal_excitations,
)
from invdyn_ros.sources.excitation.posture_sequence import PostureSequence
from invdyn_ros.sources.simulation import simulate, simulate_episode
from invdyn_ros.workers import LocalProcesses

SHORT_EXCITATION = ExcitationConfig(minutes=0.05, episode_seconds=1.0)


@pytest.mark.parametrize("arm", ROBOTS)
def test_excitation_stays_within_all_limits(arm: str) -> None:
    excitation_arm = robot(arm)
    config = ExcitationConfig(minutes=0.5, candidates=3, point_to_point=0.5)
    motions = optimal_excitations(excitation_arm, config)
    assert list(map(type, motions)) == [ExcitationTrajectory, PostureSequence]
    for motion in motions:
        q, qd, qdd = motion.motion(np.linspace(0, motion.duration, 2000))
        assert (q >= excitation_arm.lower).all() and (q <= excitation_arm.upper).all()
        assert (np.abs(qd) <= config.velocity_fraction * excitation_arm.velocity * 1.001).all()
        assert (
            np.abs(qdd) <= config.acceleration_fraction * excitation_arm.acceleration * 1.01
        ).all()


def test_excitation_starts_and_ends_at_rest_and_its_derivatives_agree() -> None:
    motion = ExcitationTrajectory(robot("ur5"), ExcitationConfig(), np.random.default_rng(0), 1.0)
    for time in (0.0, motion.duration):
        state = motion.state_at(time)
        np.testing.assert_allclose([state.qd, state.qdd], 0.0, atol=1e-9)
    time = np.linspace(0, motion.duration, 20001)
    q, qd, qdd = motion.motion(time)
    np.testing.assert_allclose(np.gradient(q, time, axis=0)[1:-1], qd[1:-1], atol=1e-4)
    np.testing.assert_allclose(np.gradient(qd, time, axis=0)[1:-1], qdd[1:-1], atol=1e-2)


@pytest.mark.parametrize("arm", ["ur5", "dofbot", "kuka_iiwa"])
def test_chosen_motions_are_better_conditioned_than_the_first_ones(arm: str) -> None:
    information = FisherInformation(robot(arm))
    values = []
    for candidates in (1, 12):
        config = ExcitationConfig(minutes=1.0, candidates=candidates)
        total = sum(
            information.of_motion(motion) for motion in optimal_excitations(robot(arm), config)
        )
        values.append((np.linalg.slogdet(total)[1], np.linalg.cond(total)))
    (plain, condition), (chosen, better) = values
    assert chosen > plain
    assert better < condition


def test_unidentifiable_parameters_have_no_effect_on_torques() -> None:
    ur5 = robot("ur5")
    information = FisherInformation(ur5)
    motion = ExcitationTrajectory(ur5, ExcitationConfig(), np.random.default_rng(3), 1.0)
    A = information.regressor(*motion.motion(np.linspace(0, motion.duration, 200)))
    B = information.basis
    hidden = np.eye(len(B)) - B @ np.linalg.pinv(B)
    assert np.abs(A @ hidden).max() < 1e-6 * np.abs(A).max()
    assert B.shape[1] < A.shape[1]


def test_exchange_prefers_complementary_candidates() -> None:
    one, two = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    assert sorted(fedorov_exchange(np.array([[one, two], [one, two]]))) == [0, 1]


@pytest.mark.slow  # a worker starts in about ten seconds
def test_simulated_data_do_not_depend_on_the_number_of_workers() -> None:
    ur5 = robot("ur5")
    runs = [
        list(simulate(ur5, SHORT_EXCITATION, load_plant("ur5"), None, LocalProcesses(workers)))
        for workers in (1, 2)
    ]
    assert len(runs[0]) == len(runs[1]) == 3
    for alone, shared in zip(*runs, strict=True):
        for name in ("time", "position", "velocity", "acceleration", "action"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(shared, name))


@pytest.mark.parametrize("arm", ROBOTS)
def test_every_arm_is_collected(
    arm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--arm", arm, "--minutes", "0.02", "--episode-seconds", "1.2", "--workers", "1"]
    assert run_verb("collect", ["sim", *arguments, "--out", str(tmp_path / arm)]) == 0
    message = capsys.readouterr()
    assert "1 episodes out" in message.out and "simulating" in message.err
    trajectories, info = read_dataset(tmp_path / arm)
    assert info.joint_names == robot(arm).joint_names and len(trajectories) == 1
    assert np.ptp(trajectories[0].position, axis=0).max() > 0.01


def test_checkpoint_drives_the_arm_that_is_collected() -> None:
    ur5, error = robot("ur5"), {}
    motion = FreeExcitations(ur5).draw_point_to_point(
        ExcitationConfig(episode_seconds=2.0), np.random.default_rng(0)
    )
    shipped = str(Path(__file__).parents[1] / "config" / "checkpoints" / "ur5")
    for policy in ("", shipped):
        run = simulate_episode(ur5, load_plant("ur5"), "N m", (motion, 0), policy)
        error[policy] = np.abs(run.position - motion.motion(run.time)[0]).max()
    assert error[shipped] < 0.2 * error[""]
    with pytest.raises(ValueError, match="computes actions in N m, not in rad; give --unit"):
        next(simulate(ur5, SHORT_EXCITATION, unit="rad", policy=shipped))


def test_impossible_excitations_and_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        LocalProcesses(0)
    with pytest.raises(ValueError, match="candidates is 0; it must be greater than 0"):
        ExcitationConfig(candidates=0)


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_no_excitation_lets_the_arm_touch_itself(arm: str) -> None:
    """By the collision detection of the simulation, not that of the choice."""
    r = robot(arm)
    motions = optimal_excitations(
        r, ExcitationConfig(minutes=1.0, candidates=2, point_to_point=0.5)
    )
    ways = [motion.motion(np.arange(0, motion.duration, 0.05))[0] for motion in motions]
    ways += [excitation_motion(r, (MOTION_SEED, seed), 15.0).q[::10] for seed in range(6)]
    probe = ContactProbe(r, FREE_SPACE)
    assert not [contact for way in ways for q in way for contact in probe.contacts(q)]
    probe.close()
