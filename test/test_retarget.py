import dataclasses
import time as clock
from pathlib import Path

import numpy as np
import pytest
from person import body, unit

from invdyn_ros.filters import Bounds, OneEuro, Pace
from invdyn_ros.kinematics import PointSolver, flips, limbs
from invdyn_ros.retarget import (
    HOLDS,
    MOUNTS,
    UNREACHABLE,
    RetargetConfig,
    Retargeter,
    retarget_errors,
)
from invdyn_ros.robot import load_robot

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"
ARMS = ("ur5", "dofbot", "kuka_iiwa")
DT = 0.05  # [s] between pictures


def wave(t, pace=0.8):
    """Directions of an arm that moves smoothly in front of the person, `pace` times a second."""
    a = 2 * np.pi * pace * 0.3 * t
    upper = [0.5 + 0.3 * np.sin(a), 0.3 * np.cos(1.3 * a), -1.0 + 0.3 * np.cos(a)]
    fore = [1.0 + 0.2 * np.sin(1.7 * a), 0.3 * np.sin(0.9 * a), 0.3 * np.cos(1.1 * a)]
    return unit(upper), unit(fore)


def settle(retargeter, landmarks, start=0.0, seconds=6.0):
    """Show the same landmarks until the arm rests; give the last result."""
    for i in range(int(seconds / DT)):
        result = retargeter(landmarks, start + i * DT)
    return result


def errors(robot, results):
    columns = ("q", "hand_target", "upper_dir", "fore_dir")
    return retarget_errors(robot, *(np.array([getattr(r, c) for r in results]) for c in columns))


@pytest.fixture(scope="module", params=ARMS)
def robot(request):
    return load_robot(request.param)


@pytest.fixture(scope="module")
def iiwa():
    return load_robot("kuka_iiwa")


# filter


def test_one_euro_passes_a_constant_and_its_first_sample_unchanged():
    one_euro = OneEuro(1.0, 0.5)
    value = np.array([0.3, -2.0, 5.0])
    for _ in range(5):
        assert np.allclose(one_euro(value, DT), value)


def test_one_euro_stays_between_what_was_and_what_is():
    one_euro = OneEuro(1.0, 0.5)
    last = one_euro(np.zeros(1), DT)
    for _ in range(50):
        new = one_euro(np.ones(1), DT)
        assert last <= new <= 1
        last = new
    assert last > 0.999


def test_one_euro_commutes_with_rotation():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    plain, turned = OneEuro(1.0, 0.5), OneEuro(1.0, 0.5)
    for sample in rng.normal(size=(30, 3)):
        assert np.allclose(turn @ plain(sample, DT), turned(turn @ sample, DT))


def test_one_euro_removes_jitter_at_rest_and_lag_in_motion():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 1))
    still = OneEuro(0.5, 0.0)
    assert np.std([still(n, DT) for n in noise]) < 0.5 * noise.std()
    ramp = 3.0 * DT * np.arange(100)[:, None]
    lags = []
    for beta in (0.0, 0.5, 2.0):
        one_euro = OneEuro(0.5, beta)
        lags.append((ramp[-1] - [one_euro(r, DT) for r in ramp][-1]).item())
    assert lags[0] > 1.5 * lags[1] > 1.5 * lags[2] > 0


def test_one_euro_refuses_a_cutoff_of_zero():
    with pytest.raises(ValueError, match="min_cutoff 0"):
        OneEuro(0.0, 0.5)


def test_pace_reaches_a_jumped_goal_within_limits_and_without_swinging_past():
    bounds = Bounds(np.array([-2.0]), np.array([2.0]), np.array([1.5]), np.array([8.0]))
    pace = Pace(bounds, np.zeros(1))
    speeds = [0.0]
    for _ in range(40):
        goal = np.array([1.3])
        low, high = pace.window(goal, DT)
        pace.move(np.clip(goal, low, high), goal, DT)
        speeds.append(pace.qd.item())
        assert pace.q <= 1.3 + 1e-9
    assert np.abs(np.diff(speeds)).max() <= 8.0 * DT + 1e-9
    assert max(speeds) <= 1.5 + 1e-9
    assert np.isclose(pace.q, 1.3)


def test_pace_never_leaves_position_limits_whatever_the_goal():
    rng = np.random.default_rng(1)
    bounds = Bounds(np.full(3, -0.5), np.full(3, 0.5), np.full(3, 3.0), np.full(3, 9.0))
    pace = Pace(bounds, np.zeros(3))
    speed = pace.qd
    for _ in range(500):
        low, high = pace.window(rng.uniform(-2, 2, 3), DT)
        assert (low <= high).all()
        pace.move(rng.uniform(low, high), rng.uniform(-2, 2, 3), DT)
        assert (np.abs(pace.q) <= 0.5).all()
        assert (np.abs(pace.qd - speed) <= 9.0 * DT + 1e-9).all()
        speed = pace.qd


# inverse kinematics


def test_solver_reaches_places_the_arm_has_been_to(robot):
    """The place of the tip in a posture near home is reached from home, within limits."""
    rng = np.random.default_rng(0)
    solver = PointSolver(robot, (robot.tip_link,), 0.8, margin=0.02)
    for _ in range(50):
        spread = rng.uniform(-0.6, 0.6, robot.n)
        q = np.clip(robot.home + spread, robot.lower + 0.1, robot.upper - 0.1)
        target = robot.forward_kinematics(q)[:3, 3]
        solution = solver.solve(target[None], robot.home, 30)
        reached = robot.forward_kinematics(solution.q)[:3, 3]
        assert np.isclose(np.linalg.norm(reached - target), solution.residual)
        assert solution.residual < 0.005
        assert (solution.q >= robot.lower + 0.02 - 1e-9).all()
        assert (solution.q <= robot.upper - 0.02 + 1e-9).all()


def test_only_the_seven_joint_arm_has_human_limbs(iiwa):
    human = limbs(iiwa)
    assert np.allclose((human.upper, human.fore), (0.42, 0.40), atol=1e-6)
    assert limbs(load_robot("ur5")) is None
    assert limbs(load_robot("dofbot")) is None


def test_flips_keep_the_limbs_where_they_are(iiwa):
    q = np.array([0.4, 1.2, -0.7, 0.9, 0.2, 0.5, 0.1])
    human = limbs(iiwa)
    others = flips(iiwa, q)
    assert len(others) == 3
    for other in others:
        assert np.abs(other - q).max() > 1
        for link in (human.elbow, human.wrist):
            here, there = (iiwa.forward_kinematics(p, link)[:3, 3] for p in (q, other))
            assert np.allclose(here, there, atol=1e-9)


# retargeting


def test_hand_of_a_still_person_is_reached_within_5_mm(robot):
    for t in np.arange(0, 12, 1.5):
        retargeter = Retargeter(robot)
        result = settle(retargeter, body(*wave(t)))
        assert result.reachable
        assert result.behind < 0.005
        error = errors(robot, [result])
        assert error.wrist.item() < 5.0
        if retargeter.limbs:
            assert max(error.upper.item(), error.fore.item()) < 3.0


def test_limbs_of_the_iiwa_point_where_the_person_points(iiwa):
    for mount, turn in MOUNTS.items():
        upper, fore = unit([0.7, 0.2, 0.3]), unit([0.4, 0.5, 0.8])
        result = settle(Retargeter(iiwa, RetargetConfig(mount=mount)), body(upper, fore))
        human = limbs(iiwa)
        s, e, w = (iiwa.forward_kinematics(result.q, link)[:3, 3] for link in human[:3])
        assert np.degrees(np.arccos(unit(e - s) @ turn @ upper)) < 3.0
        assert np.degrees(np.arccos(unit(w - e) @ turn @ fore)) < 3.0


@pytest.mark.parametrize("side", ["left", "right"])
def test_hand_moves_the_way_the_persons_hand_moves(side):
    robot = load_robot("ur5")
    retargeter = Retargeter(robot, RetargetConfig(side=side))
    upper, fore = unit([0.6, 0.0, -0.8]), unit([1.0, 0.0, 0.0])
    middle = settle(retargeter, body(upper, fore)).hand_target
    for axis in range(3):
        moved = settle(retargeter, body(upper, fore + 0.5 * np.eye(3)[axis] + [-0.2, 0, 0]), 100.0)
        if axis:
            assert (moved.hand_target - middle)[axis] > 0.03
        retargeter.reset()


def test_result_does_not_depend_on_bone_lengths_place_or_heading(robot):
    upper, fore = wave(1.0)
    plain = settle(Retargeter(robot), body(upper, fore))
    for change in (
        {"lengths": (0.22, 0.35)},
        {"offset": (0.4, -0.2, 0.1)},
        {"yaw": 0.7},
        {"yaw": -2.5},
    ):
        other = settle(Retargeter(robot), body(upper, fore, **change))
        assert np.allclose(other.hand_target, plain.hand_target, atol=1e-6), change
        assert np.allclose(other.q, plain.q, atol=1e-6), change


def test_arm_keeps_up_with_a_slow_hand_and_never_jumps(robot):
    retargeter = Retargeter(robot)
    settle(retargeter, body(*wave(0.0)))
    results = [retargeter(body(*wave(i * DT, 0.25)), 10 + i * DT) for i in range(300)]
    q = np.array([r.q for r in results])
    speed = np.diff(q, axis=0) / DT
    assert (np.abs(speed) <= robot.velocity).all()
    assert (np.abs(np.diff(speed, axis=0)) / DT <= robot.acceleration * (1 + 1e-6)).all()
    assert np.allclose(np.array([r.qd for r in results])[1:], speed)
    error = errors(robot, results)
    assert all(r.reachable for r in results)
    assert np.percentile(error.wrist, 95) < 5.0
    if retargeter.limbs:
        assert max(np.percentile(error.upper, 95), np.percentile(error.fore, 95)) < 3.0


def test_limits_hold_for_any_flailing(robot):
    """Directions at random, far faster than the arm, with gaps and doubtful frames."""
    rng = np.random.default_rng(2)
    retargeter, t, last = Retargeter(robot), 0.0, None
    for _ in range(150):
        dt = rng.uniform(0.02, 0.12)
        t += dt
        upper, fore = (unit(v) for v in rng.normal(size=(2, 3)))
        seen = None if rng.random() < 0.1 else body(upper, fore, visibility=rng.uniform(0.4, 1))
        result = retargeter(seen, t)
        assert (result.q >= robot.lower).all()
        assert (result.q <= robot.upper).all()
        assert (np.abs(result.qd) <= robot.velocity).all()
        if last is not None:
            step = np.abs(result.q - last.q)
            assert (step <= robot.velocity * dt + 1e-9).all()
            assert (np.abs(result.qd - last.qd) <= robot.acceleration * dt + 1e-9).all()
        assert result.hold is None or result.hold in HOLDS
        assert result.unreachable is None or result.unreachable in UNREACHABLE
        last = result


def test_hand_that_cannot_be_reached_has_a_reason_and_stays_above_the_base():
    robot = load_robot("ur5")
    big = Retargeter(robot, RetargetConfig(scale=2.5))
    down = settle(big, body([0, 0, -1], [0, 0, -1]))
    assert down.unreachable == "below the base"
    assert down.hand_target[2] < 0
    assert robot.forward_kinematics(down.q)[2, 3] > 0.04
    far = settle(big, body([1, 0, 0.2], [1, 0, 0.2]), 100.0)
    assert far.unreachable == "out of reach"
    back = settle(Retargeter(robot), body([-0.9, 0, -0.5], [-0.6, 0, -0.5]))
    assert back.unreachable == "inside the base"


def test_upright_iiwa_cannot_lower_its_upper_arm_and_says_so(iiwa):
    hanging = body([0, 0.1, -1], [0.3, 0, -1])
    assert settle(Retargeter(iiwa), hanging).reachable
    assert settle(Retargeter(iiwa, RetargetConfig(mount="table")), hanging).unreachable


def test_arm_holds_with_a_reason_and_goes_on_afterwards(robot):
    retargeter = Retargeter(robot)
    good = body(*wave(0.0))
    before = settle(retargeter, good)
    hidden, broken = good.copy(), good.copy()
    hidden[15, 3] = 0.2
    broken[13, 0] = np.nan
    cases = [
        (None, 10.0, None, "no person"),
        (hidden, 10.1, None, "low visibility"),
        (broken, 10.2, None, "low visibility"),
        (good, 10.2, None, "repeated time"),
        (good, 10.15, None, "repeated time"),
        (good, 10.3, 11.0, "stale time"),
    ]
    for landmarks, t, now, reason in cases:
        held = retargeter(landmarks, t, now)
        assert held.hold == reason
        assert not held.reachable
        assert np.isnan(held.hand_target).all()
        assert np.allclose(held.q, before.q, atol=1e-3)
    after = retargeter(good, 10.4, 10.45)
    assert after.hold is None
    assert np.allclose(after.q, before.q, atol=0.01)


def test_only_the_arm_that_counts_must_be_visible():
    robot = load_robot("ur5")
    landmarks = body(*wave(0.0))
    landmarks[[14, 16], 3] = 0.0
    assert Retargeter(robot, RetargetConfig(side="left"))(landmarks, 0.0).hold is None
    assert Retargeter(robot, RetargetConfig(side="right"))(landmarks, 0.0).hold == HOLDS[1]


def test_moving_arm_brakes_within_its_limits_when_the_person_is_lost(robot):
    retargeter = Retargeter(robot)
    for i in range(6):
        moving = retargeter(body(*wave(0.0)), i * DT)
    assert np.abs(moving.qd).max() > 0.1
    held = [moving] + [retargeter(None, (6 + i) * DT) for i in range(20)]
    speed = np.array([r.qd for r in held])
    assert (np.abs(np.diff(speed, axis=0)) <= robot.acceleration * DT + 1e-9).all()
    assert (np.abs(speed[-1]) < 1e-9).all()


def test_source_that_starts_again_is_followed_again():
    retargeter = Retargeter(load_robot("ur5"))
    last = settle(retargeter, body(*wave(0.0)), start=50.0)
    assert retargeter(body(*wave(0.0)), 0.0).hold == "repeated time"
    again = retargeter(body(*wave(0.0)), DT)
    assert again.hold is None
    assert np.allclose(again.q, last.q, atol=0.01)


def test_same_landmarks_give_the_same_motion(robot):
    runs = [
        [Retargeter_(body(*wave(i * DT)), i * DT).q for i in range(40)]
        for Retargeter_ in (Retargeter(robot), Retargeter(robot))
    ]
    assert np.array_equal(*runs)


def test_landmarks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected landmarks \(33, 4\), got \(17, 3\)"):
        Retargeter(load_robot("ur5"))(np.zeros((17, 3)), 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"side": "both"}, "side is 'both'; expected one of left, right"),
        ({"mount": "ceiling"}, "mount is 'ceiling'; expected one of auto, table, wall"),
        ({"upper_arm": 0.0}, "upper_arm is 0.0"),
        ({"speed": 1.2}, "speed is 1.2"),
        ({"min_visibility": -0.1}, "min_visibility is -0.1"),
        ({"scale": -1.0}, "scale -1.0"),
        ({"min_cutoff": 0.0}, "min_cutoff 0.0"),
    ],
)
def test_senseless_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Retargeter(load_robot("ur5"), RetargetConfig(**fields))


def test_scale_of_an_arm_with_limbs_of_its_own_is_refused(iiwa):
    with pytest.raises(ValueError, match="keeps the lengths of its own limbs"):
        Retargeter(iiwa, RetargetConfig(scale=1.0))


def test_defaults_are_one_value_per_field_that_ros_can_carry():
    for field in dataclasses.fields(RetargetConfig):
        assert isinstance(getattr(RetargetConfig(), field.name), (str, float))


def test_call_takes_two_milliseconds_at_most(robot):
    retargeter = Retargeter(robot)
    rng = np.random.default_rng(0)
    spent = []
    for i in range(200):
        landmarks = body(*wave(i * DT))
        landmarks[:, :3] += rng.normal(0, 0.005, (33, 3))
        begin = clock.thread_time()
        retargeter(landmarks, i * DT)
        spent.append(clock.thread_time() - begin)
    assert np.median(spent) < 2e-3


@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")
@pytest.mark.parametrize("side", ["left", "right"])
def test_arm_follows_the_recorded_person(robot, side):
    from invdyn_ros.perception.camera import CameraConfig, open_camera
    from invdyn_ros.perception.pose import PoseEstimator

    retargeter = Retargeter(robot, RetargetConfig(side=side))
    results = []
    with PoseEstimator() as estimator:
        for frame in open_camera(CameraConfig(video=str(PERSON), rate=5.0)):
            found = estimator(frame.image)
            results.append(retargeter(None if found is None else found.world, frame.time))
    followed = [r for r in results if r.hold is None]
    assert len(followed) > 0.8 * len(results)
    assert np.mean([r.reachable for r in followed]) > 0.9
    kept_up = [r for r in followed if r.behind < 0.005]
    assert errors(robot, kept_up).wrist.max() < 5.0
