"""Reports of runs with known metrics."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from invdyn_ros.control.computed_torque import ConstantInertiaModel
from invdyn_ros.control.faults import Fault
from invdyn_ros.data.recording import (
    JointSamples,
    Recording,
    StatusInterval,
    align_stamps,
    join_recordings,
)
from invdyn_ros.evaluation.closed_loop import replay
from invdyn_ros.evaluation.grasp_report import (
    block_errors,
    detect_success,
    failure_cause,
    grasp_report,
)
from invdyn_ros.evaluation.person_errors import find_lag
from invdyn_ros.evaluation.run_metrics import (
    faults,
    held_share,
    latencies,
    limit_violations,
    lost_frames,
    quantiles,
    tracking,
)
from invdyn_ros.grasp.policies.success_rate import success_interval
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import quaternion_pose

robot = cache(load_robot)
STILL = np.zeros(6)
SETTINGS = {"policy": "scripted", "noise": "none", "seed": 0}


def samples(time: np.ndarray, q: np.ndarray | None = None, opening: float = 0.08) -> JointSamples:
    arm, count = robot("ur5"), len(time)
    q = np.tile(arm.home, (count, 1)) if q is None else q
    return JointSamples(
        time, q, np.zeros((count, 6)), np.zeros((count, 6)), np.full(count, opening)
    )


def grasped(height: float, seed: int = 0) -> Recording:
    """An episode in which the block is lifted by a height [m] and held."""
    time = np.arange(100) / 125
    blocks = {
        float(t): (np.array([0.45, 0.0, 0.02 + height * (t > 0.4)]), np.array([0, 0, 0, 1.0]))
        for t in time[::10]
    }
    return Recording(samples(time, opening=0.04), samples(time), block_poses=blocks)


def placed(height: float) -> Recording:
    """An episode in which the block is lifted by a height [m] and released at its goal."""
    episode = grasped(height)
    opening = np.where(episode.joints.time > 0.6, 0.08, 0.04)
    episode.joints = episode.joints._replace(opening=opening)
    for time, (_, upright) in episode.block_poses.items():
        if time > 0.6:
            episode.block_poses[time] = (np.array(load_scene("ur5").goal), upright)
    return episode


def test_samples_are_aligned_by_their_stamps() -> None:
    measured, desired = (
        samples(np.array([0.0, 0.1, 0.2, 0.3])),
        samples(np.array([0.1, 0.25, 0.3])),
    )
    left, right = align_stamps(measured, desired)
    np.testing.assert_array_equal(left.time, [0.1, 0.3])
    np.testing.assert_array_equal(right.time, [0.1, 0.3])
    late = samples(np.array([0.1 + 2e-7, 0.3]))  # rounding of a float stamp
    assert len(align_stamps(measured, late)[0].time) == 2
    for nothing in (JointSamples.from_rows([]), samples(np.array([5.0]))):
        left, right = align_stamps(measured, nothing)
        assert left.q.shape == right.q.shape == (0, 6)


def test_samples_without_rows_are_empty_and_since_returns_later_samples() -> None:
    assert len(JointSamples.from_rows([]).time) == 0
    rows = [(t, STILL + t, STILL, np.empty(0), 0.0) for t in (0.0, 1.0, 2.0)]
    later = JointSamples.from_rows(rows).since(1.0)
    np.testing.assert_array_equal(later.time, [1.0, 2.0])
    assert later.q.shape == (2, 6) and later.effort.shape == (2, 0)


def test_tracking_error_counts_all_times_and_the_resets_of_the_plan() -> None:
    """A plan that restarts at the measured arm has the error of the plan before."""
    arm, time = robot("ur5"), np.arange(50) / 125
    measured = samples(time, arm.home + 0.2 * time[:, None])  # drifts away from a plan at rest
    plan = samples(time)
    assert tracking(arm, measured, plan).max == pytest.approx(0.2 * time[-1])
    plan.q[20:] = measured.q[20]
    reset = tracking(arm, measured, plan)
    assert list(reset.jumps) == [time[20]]
    np.testing.assert_allclose(reset.error[20], 0.2 * time[20], atol=1e-9)
    np.testing.assert_allclose(reset.error[21], 0.2 * (time[21] - time[20]), atol=1e-9)
    silent = JointSamples(*(part[:10] for part in samples(time)))  # no plan any more
    fallen = tracking(arm, measured, silent)
    assert len(fallen.time) == 50 and fallen.max == pytest.approx(0.2 * time[-1])
    assert tracking(arm, samples(time), samples(time + 5)).rms is None


def test_lag_and_error_of_a_delayed_and_displaced_copy_are_recovered() -> None:
    time = np.arange(0, 12, 0.008)
    stamps = np.arange(1, 10, 1 / 29.97)

    def path(t: np.ndarray) -> np.ndarray:
        return np.column_stack(
            [0.1 * np.sin(1.1 * t), 0.2 * np.cos(0.7 * t), 0.05 * np.sin(3 * t)]
        )

    for delay in (0.0, 0.0437, 0.312):
        lag = find_lag(stamps, path(stamps), time, np.add(path(time - delay), (0.3, -0.1, 0.0)))
        assert lag is not None and lag.seconds == pytest.approx(delay, abs=0.005)
        assert lag.correlation > 0.999
    assert find_lag(stamps, np.zeros((len(stamps), 3)), time, path(time)) is None


def test_held_time_and_lost_frames_are_counted() -> None:
    stamps = np.arange(0, 8, 0.1)
    recording = Recording(samples(np.arange(0, 10, 0.01)), samples(np.empty(0)))
    overspeed = Fault("overspeed", "elbow_joint", 3.3, 3.15, "rad/s")
    recording.landmarks = [(float(t), None) for t in stamps if not 3 < t < 3.45]
    recording.image_stamps = [float(t) for t in stamps] + [9.9]  # the last one is in work
    recording.statuses = [
        StatusInterval(0.0, 1.0, "retarget", "no person", "hold"),
        StatusInterval(0.2, 5.0, "inverse_dynamics", "action clipped", "warning"),
        StatusInterval(0.5, 1.5, "inverse_dynamics", str(overspeed), "fault"),
        StatusInterval(9.0, 9.99, "retarget", "no person", "hold"),
    ]
    assert held_share(recording) == pytest.approx(2.49 / 9.99, abs=1e-4)
    assert len(lost_frames(recording)) == 4
    (fault,) = faults(recording)
    assert (fault["time"], fault["node"]) == (0.5, "inverse_dynamics")
    assert {key: fault[key] for key in overspeed._fields} == overspeed._asdict()


def test_parts_of_a_run_whose_stamps_jumped_are_joined() -> None:
    first, second = grasped(0.05), grasped(0.05).shifted(-3600.0)
    second.statuses.append(StatusInterval(-3600.0, -3599.9, "simulator", "x", "hold"))
    joined = join_recordings([first, second])
    assert len(joined.joints.time) == 200 and np.all(np.diff(joined.joints.time) > 0)
    assert joined.joints.time[-1] == pytest.approx(2 * 0.792, abs=2e-3)
    assert joined.statuses[0].start == pytest.approx(0.793, abs=1e-6)
    assert len(joined.block_poses) == 2 * len(first.block_poses)


def test_latencies_are_joined_by_the_stamp_of_the_image() -> None:
    """Stages may be in any order; a frame without all of them has no latency."""
    epoch = 1.7e9  # as stamps are in real time
    stages = []
    for k in range(10):
        stamp = epoch + k / 30
        stages += [("command", stamp, stamp + 0.025 + 0.001 * k)]
        stages += [("pose end", stamp, stamp + 0.021), ("pose begin", stamp, stamp + 0.001)]
    stages += [("command", epoch + 1, epoch + 1.1)]  # no pose
    stages += [("command", epoch, epoch + 9.0)]  # a later command of the same frame
    recording = Recording(samples(np.empty(0)), samples(np.empty(0)), stages=stages)
    whole, core, stages = latencies(recording)
    np.testing.assert_allclose(np.sort(whole), 25 + np.arange(10), atol=0.01)
    np.testing.assert_allclose(np.sort(core), 5 + np.arange(10), atol=0.01)
    np.testing.assert_allclose(sum(stages.values()), whole, atol=1e-9)
    np.testing.assert_allclose(stages["pose"], 20, atol=0.01)


def test_quantiles_without_values_are_none() -> None:
    assert quantiles(np.empty(0)) == {"p50": None, "p95": None, "p99": None}
    assert quantiles(np.arange(101.0), (50, 95)) == {"p50": 50.0, "p95": 95.0}


def test_limit_violations_are_counted_for_arm_and_plan() -> None:
    arm, time = robot("ur5"), np.arange(10) / 125
    good = samples(time)
    assert not any(limit_violations(arm, good, good, "N m").by_kind.values())
    bad = samples(time)
    bad.q[2, 1] = arm.upper[1] + 1e-3
    bad.qd[2, 0] = 1.1 * arm.velocity[0]  # the same sample
    bad.qd[4, 0] = -1.1 * arm.velocity[0]
    bad.effort[5, 3] = 1.01 * arm.effort[3]
    violations = limit_violations(arm, bad, good, "N m")
    assert {kind: count for kind, count in violations.by_kind.items() if count} == {
        "measured position": 1,
        "measured velocity": 2,
        "measured effort": 1,
    }
    assert list(violations.time) == [time[2], time[2], time[4], time[5]]
    desired = limit_violations(arm, good._replace(q=good.q + 0.01), bad, "rad").by_kind
    assert desired["desired position"] == 1 and desired["desired velocity"] == 2
    assert desired["desired effort"] == 0  # its effort is a setpoint
    assert desired["desired acceleration"] == 4  # both velocities step up and down
    assert not len(limit_violations(arm, samples(np.empty(0)), good, "N m").time)


@pytest.mark.parametrize("error", [1e-4, 1.2e-3, 0.03])
@pytest.mark.parametrize("period", [0.002, 0.008, 0.05])
def test_a_stop_from_the_measured_arm_is_a_jump_and_no_acceleration(
    period: float, error: float
) -> None:
    """After a fault the plan starts anew at the measured position and velocity."""
    arm, time = robot("ur5"), np.arange(20) * period
    plan = samples(time)
    plan.qd[:10] = 1.0
    plan.qd[10:] = np.maximum(0.4 - arm.acceleration * (time[10:] - time[10])[:, None], 0.0)
    steps = period / 2 * (plan.qd[:-1] + plan.qd[1:])
    steps[9] = period - error  # the arm lags behind its plan
    plan.q[1:] = plan.q[0] + np.cumsum(steps, axis=0)
    lag = error * (time != time[10])[:, None]
    measured = samples(time, plan.q - lag)
    assert limit_violations(arm, measured, plan, "N m").by_kind["desired acceleration"] == 0
    assert list(tracking(arm, measured, plan).jumps) == [time[10]]
    # it is a violation where the plan, followed exactly, brakes so hard
    exact = limit_violations(arm, plan, plan, "N m").by_kind
    assert exact["desired acceleration"] == 1


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        (97, 100, 0.9155, 0.9897),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 2, 0.0945, 0.9055),
    ],
)
def test_success_interval_is_that_of_wilson(
    successes: int, episodes: int, low: float, high: float
) -> None:
    """Compare with the formula, evaluated by hand."""
    z, p = 1.959964, successes / episodes
    middle = (p + z * z / (2 * episodes)) / (1 + z * z / episodes)
    half = z * np.sqrt(p * (1 - p) / episodes + (z / (2 * episodes)) ** 2)
    half /= 1 + z * z / episodes
    interval = success_interval(successes, episodes)
    np.testing.assert_allclose(interval, [middle - half, middle + half], atol=1e-4)
    np.testing.assert_allclose(interval, [low, high], atol=2e-4)


def test_grasp_report_counts_detected_successes() -> None:
    episodes = [placed(0.05), grasped(0.03), grasped(0.06)]
    report = grasp_report(episodes, robot("ur5"), load_scene("ur5"), "N m", SETTINGS)
    assert (report["episodes"], report["successes"], report["lifted"]) == (3, 1, 2)
    assert report["failed_episodes"] == [1, 2]
    assert report["success_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert report["baseline_scripted"] == {"success_rate": 0.3333, "ci95": report["ci95"]}
    assert (
        report["tracking_rms_rad"] == {"inverse_dynamics": 0.0} and report["limit_violations"] == 0
    )
    assert report["seconds_per_episode"] == pytest.approx(0.79)
    assert report["policy"] == "scripted" and report["noise"] == "none"


def test_an_unfinished_episode_has_no_outcome_but_all_its_errors() -> None:
    episodes, cut = [placed(0.05), grasped(0.03)], grasped(0.0)
    cut.joints.qd[7, 0] = 99.0
    cut.statuses.append(StatusInterval(0.2, 0.4, "inverse_dynamics", "overspeed", "fault"))
    settings = SETTINGS | {"policy": "learned"}
    report = grasp_report(episodes, robot("ur5"), load_scene("ur5"), "N m", settings, [cut])
    assert (report["episodes"], report["successes"], report["unfinished_episodes"]) == (2, 1, 1)
    assert report["baseline_scripted"] is None
    assert report["limit_violations_by_kind"]["measured velocity"] == 1
    (fault,) = report["faults"]
    assert (fault["episode"], fault["time"], fault["reason"]) == (2, 0.2, "overspeed")
    assert report["held_share"] == pytest.approx(0.2 / 0.792 / 3, abs=1e-4)


OPEN, CLOSED, ROUND_IT = 0.08, 0.0, 0.04  # openings [m]; the block is 0.04 m wide


@pytest.mark.parametrize(
    ("openings", "lift", "detected", "why"),
    [
        ((OPEN, OPEN, OPEN), (0, 0, 0), False, "not_detected"),
        ((OPEN, OPEN, OPEN), (0, 0, 0), True, "timeout"),
        ((OPEN, CLOSED, CLOSED), (0, 0, 0), True, "missed_grasp"),
        ((OPEN, ROUND_IT, CLOSED), (0, 0.02, 0), True, "slipped"),
        ((OPEN, ROUND_IT, ROUND_IT), (0, 0.02, 0.02), True, "timeout"),
    ],
)
def test_failure_cause_depends_on_the_progress_of_the_episode(
    openings: tuple[float, ...], lift: tuple[float, ...], detected: bool, why: str
) -> None:
    """Each opening and lift lasts a third of a second; the block is at the tool."""
    arm, time = robot("ur5"), np.arange(126) / 125
    third = np.minimum((3 * time).astype(int), 2)
    place, upright = arm.forward_kinematics(arm.home)[:3, 3], np.array([0, 0, 0, 1.0])
    joints = samples(time)._replace(opening=np.array(openings)[third])
    recording = Recording(joints, samples(time))
    for t, part in zip(time[::5], third[::5], strict=True):
        recording.block_poses[float(t)] = (place + np.array([0, 0, lift[part]]), upright)
    if detected:
        recording.camera_detections[0.0] = np.eye(4)
    assert failure_cause(recording, arm, load_scene("ur5")) == why
    for kind, text in (("fault", "overspeed"), ("hold", "blocked by table near finger_left")):
        recording.statuses = [StatusInterval(0.4, 1.0, "inverse_dynamics", text, kind)]
        assert failure_cause(recording, arm, load_scene("ur5")) == "stopped"
    recording.statuses = [StatusInterval(0.4, 1.0, "grasp", "no block", "hold")]
    report = grasp_report([recording], arm, load_scene("ur5"), "N m", SETTINGS)
    assert report["failed_episodes"] == [0] and report["failures"][why] == 1


def test_a_block_far_from_the_tool_is_not_held() -> None:
    arm, time = robot("ur5"), np.arange(126) / 125
    recording = Recording(samples(time, opening=ROUND_IT), samples(time))
    recording.camera_detections[0.0] = np.eye(4)
    for t in time[::5]:
        recording.block_poses[float(t)] = (
            np.array([0.45, 0.0, 0.05 * t]),
            np.array([0, 0, 0, 1.0]),
        )
    assert failure_cause(recording, arm, load_scene("ur5")) == "timeout"
    holds = grasped(0.03)  # in the air, but not at the tool
    assert failure_cause(holds, arm, load_scene("ur5")) == "not_detected"


def test_grasp_report_is_json_for_numpy_booleans() -> None:
    """Comparisons of numpy numbers are numpy booleans, which json refuses."""
    episodes = [placed(0.05), placed(0.03)]
    report = grasp_report(
        episodes,
        robot("ur5"),
        load_scene("ur5"),
        "N m",
        SETTINGS | {"policy": "learned"},
    )
    assert json.loads(json.dumps(report))["successes"] == 2


def test_report_without_episodes_has_no_numbers() -> None:
    report = grasp_report([], robot("ur5"), load_scene("ur5"), "N m", SETTINGS)
    assert report["episodes"] == 0 and report["ci95"] is None
    assert report["tracking_rms_rad"] is None and report["seconds_per_episode"] is None
    assert report["block_error_mm"] == {"p50": None, "p95": None}


def test_an_episode_without_a_block_is_no_success() -> None:
    time = np.arange(5) / 125
    empty = Recording(samples(time), samples(time))
    assert detect_success(empty, load_scene("ur5")) is None
    report = grasp_report([empty], robot("ur5"), load_scene("ur5"), "N m", SETTINGS)
    assert report["successes"] == 0 and report["failed_episodes"] == [0]


def test_placed_block_counts_only_while_the_arm_is_at_rest() -> None:
    """An arm without measured velocities has those computed from its positions."""
    recording = placed(0.05)
    time = recording.joints.time
    fast = np.tile(robot("ur5").home, (100, 1)) + 0.5 * time[:, None]
    for qd in (np.full((100, 6), 0.5), np.empty((100, 0))):
        recording.joints = recording.joints._replace(q=fast, qd=qd)
        result = detect_success(recording, load_scene("ur5"))
        assert result is not None and not result.success


def test_block_errors_compare_detections_with_true_poses_of_the_same_stamp() -> None:
    scene, recording = load_scene("ur5"), grasped(0.0)
    camera = np.linalg.inv(scene.camera.T_base_camera)
    for k, (stamp, (centre, quaternion)) in enumerate(recording.block_poses.items()):
        T = quaternion_pose(centre + 0.001 * k * np.array([1.0, 0, 0]), quaternion)
        recording.camera_detections[stamp] = camera @ T
    recording.camera_detections[99.0] = np.eye(4)  # no true pose to compare with
    errors = block_errors(recording, scene)
    np.testing.assert_allclose(errors, np.arange(len(recording.block_poses)), atol=1e-6)


def test_replay_of_a_desired_motion_gives_its_tracking_error() -> None:
    """At home, an arm with plain feedback sags under gravity; an arm with servos does not."""
    time = np.arange(100) / 125
    arm = robot("ur5")
    sag = replay(arm, ConstantInertiaModel(arm, "N m"), "N m", 0.0, samples(time), IDEAL_PLANT)
    assert 1e-3 < sag.rms < 0.5
    dofbot = robot("dofbot")
    q = np.tile(dofbot.home, (100, 1))
    none = np.empty((100, 0))
    desired = JointSamples(time, q, np.zeros((100, 5)), none, time)
    same = [
        replay(dofbot, ConstantInertiaModel(dofbot, "rad"), "rad", 0.0, desired, seed=s).rms
        for s in (1, 1)
    ]
    assert same[0] == same[1] < 0.05


def test_replay_of_two_states_is_refused() -> None:
    arm = robot("ur5")
    with pytest.raises(ValueError, match="3 desired states or more, got 2"):
        replay(
            arm,
            ConstantInertiaModel(arm, "N m"),
            "N m",
            0.0,
            samples(np.array([0.0, 0.1])),
            IDEAL_PLANT,
        )


def test_error_of_a_detection_in_the_base_frame_is_its_distance_from_the_true_pose() -> None:
    """Detections of a lifted block have no error in the report."""
    recording, off = grasped(0.05), np.array([0.003, -0.004, 0.0])
    true_position = recording.block_poses[0.0][0]
    for time in recording.block_poses:
        recording.base_detections[time] = np.eye(4)
        recording.base_detections[time][:3, 3] = true_position + off
    errors = block_errors(recording, load_scene("ur5"))
    assert 0 < len(errors) < len(recording.block_poses)
    np.testing.assert_allclose(errors, 5.0, atol=1e-6)
