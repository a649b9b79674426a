"""What a grasp does not act on: blocks that are too far, too many, of another size, or absent."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.control.safety_limits import State
from invdyn_ros.grasp.estimation.block_estimate import (
    BlockDetection,
    apparent_size,
    detection_on_table,
)
from invdyn_ros.grasp.estimation.detection_gating import (
    CLEAR_DELAY,
    DetectionGate,
    block_area,
    training_area,
)
from invdyn_ros.grasp.policies.learned import DETECTION_TIMEOUT, LearnedGrasp
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.grasp.policies.scripted import BLOCK_NOT_DETECTED, ScriptedGrasp
from invdyn_ros.grasp.policies.time_scaling import RAMP_TIME, TimeScaling
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
    describe_duplicate,
)
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import block_pose

SCENE = load_scene("ur5")
TICK, PICTURE = 0.008, 0.1  # [s]
HERE, THERE, FAR = (0.45, 0.05), (0.52, -0.06), (0.9, 0.1)  # [m]
robot = cache(load_robot)


def seen(time: float, place: tuple[float, float] = HERE, size: float = np.nan) -> BlockDetection:
    return BlockDetection(
        time, np.array([*place, SCENE.block_size / 2]), 0.3, np.full(4, 1e-6), size
    )


def eager() -> LearnedGrasp:
    """A policy that always moves the first joint, and counts how often it is asked."""
    size = ObservationBuilder(robot("ur5"), SCENE, 7).size
    policy = MLPPolicy(PolicyMetadata("ur5", size, 7, (4,), "clip", "sac"))
    with torch.no_grad():
        for layer in policy.layers:
            layer.weight.zero_(), layer.bias.zero_()
        policy.layers[-1].bias += torch.tensor([0.3, 0, 0, 0, 0, 0, 1.0])
    return LearnedGrasp(robot("ur5"), SCENE, policy)


class Play:
    """A grasp whose wishes come true at once, before a camera that shows what it is told."""

    def __init__(self, grasp: LearnedGrasp | ScriptedGrasp) -> None:
        self.grasp, self.time, self.q = grasp, 0.0, robot("ur5").home.copy()
        self.opening = 0.085
        self.track: list[State] = []
        self.reasons: list[str | None] = []

    def run(self, seconds: float, place=None, size=np.nan, refused: str | None = None) -> None:
        """Go on; each picture shows a block at a place, or is refused, or shows none."""
        for _ in range(round(seconds / TICK)):
            if len(self.track) % round(PICTURE / TICK) == 0:
                if refused is not None:
                    self.grasp.on_invalid_image(self.time, refused)
                elif place is None:
                    self.grasp.on_no_detection(self.time)
                else:
                    self.grasp.on_detection(seen(self.time, place, size))
            self.grasp.update_joints(self.q, np.zeros(6))
            wish = self.grasp.command(self.time, self.opening, TICK)
            self.q = wish.state.q if wish.horizon is None else self._toward(wish)
            self.track.append(wish.state)
            if [wish.hold_reason] != self.reasons[-1:]:
                self.reasons.append(wish.hold_reason)
            self.wish, self.time = wish, self.time + TICK

    def _toward(self, wish) -> np.ndarray:
        return self.q + (wish.state.q - self.q) * min(1.0, TICK / wish.horizon)

    def stands(self, seconds: float, **shown) -> bool:
        """Whether the arm is at rest at the end and has moved no more in this time."""
        before = self.q
        self.run(seconds, **shown)
        return np.abs(self.q - before).max() < 1e-6 and not self.wish.state.qd.any()


def test_size_that_a_block_on_the_table_has_is_told_from_how_it_looks() -> None:
    eye, said = np.array([0.8, 0.1, 0.4]), 0.04
    for true in (0.02, 0.03, 0.04, 0.07):
        centre = np.array([0.45, 0.05, true / 2])
        looks = eye + (centre - eye) * said / true  # a marker seen as large as it is said to be
        assert apparent_size(looks, eye, said / 2) == pytest.approx(true)
    assert apparent_size(eye + np.array([0.3, 0, 0.01]), eye, said / 2) == np.inf


@pytest.mark.parametrize("true", [0.03, 0.04, 0.05])
def test_a_picture_of_blocks_of_another_size_is_doubted(true: float) -> None:
    real, pose = replace(SCENE, block_size=true), block_pose(*HERE, true / 2, 0.4)
    with SceneRenderer(robot("ur5"), real) as camera:
        image = camera.render(robot("ur5").home, 0.05, pose[None])
    camera = SCENE.camera
    (found,) = BlockDetector(BlockDetectorConfig(SCENE.block_size), camera.intrinsics()).detect(
        image
    )
    T, half = camera.T_base_camera, SCENE.block_size / 2
    sight = detection_on_table(0.0, found.T_camera_block, found.covariance, T, half)
    assert sight.apparent_size == pytest.approx(true, rel=0.03)
    doubts = DetectionGate(SCENE)
    assert doubts.accept(sight) == (true == SCENE.block_size)
    if doubts.reason is not None:
        assert f"looks {1e3 * true:.0f} mm wide" in doubts.reason and "40 mm" in doubts.reason


def test_an_uncertain_depth_is_no_other_size() -> None:
    doubts = DetectionGate(SCENE)
    assert not doubts.accept(seen(0.0, size=0.05))
    assert doubts.accept(seen(9.0, size=0.05)._replace(variance=np.full(4, 0.03**2)))


def test_a_doubt_outlasts_silence_and_ends_after_good_pictures() -> None:
    doubts = DetectionGate(SCENE)
    doubts.reject(1.0, describe_duplicate(0))
    assert doubts.reason == describe_duplicate(0) and "two blocks with id 0" in describe_duplicate(
        0
    )
    assert doubts.accept(seen(1.0 + CLEAR_DELAY / 2)) and doubts.reason is not None
    doubts.clear(1.0 + 1.1 * CLEAR_DELAY)
    assert doubts.reason is None


def test_a_doubt_is_not_said_anew_for_every_millimetre() -> None:
    rng, doubts, said = np.random.default_rng(0), DetectionGate(SCENE, training_area(SCENE)), set()
    for k in range(200):
        doubts.accept(seen(k / 10, tuple(FAR + 0.01 * rng.uniform(-1, 1, 2))))
        said.add(doubts.reason)
    assert len(said) == 1
    doubts.accept(seen(20.0, (1.5, 0.5)))
    assert "x 1.50, y 0.50 m" in doubts.reason


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_a_learned_grasp_knows_the_blocks_of_its_scene_and_their_goal(arm: str) -> None:
    scene, rng = load_scene(arm), np.random.default_rng(0)
    area = training_area(scene)
    assert all(area.contains(scene.sample_block_pose(rng)[:2, 3]) for _ in range(100))
    assert area.contains(np.array(scene.goal[:2])) and not area.contains(np.array([2.0, 0.0]))


def test_a_pose_that_is_not_finite_is_doubted() -> None:
    assert not DetectionGate(SCENE).accept(seen(0.0, (np.nan, 0.1)))


WRONG = {
    "far": ({"place": FAR}, "x 0.90, y 0.10 m"),
    "double": ({"refused": describe_duplicate(0)}, "two blocks with id 0"),
    "size": ({"place": HERE, "size": 0.06}, "looks 60 mm wide"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_policy_is_not_asked_about_a_wrong_block_and_goes_on_when_it_is_right(case: str) -> None:
    shown, words = WRONG[case]
    play = Play(eager())
    assert play.stands(0.4, **shown) and words in play.wish.hold_reason
    np.testing.assert_allclose(play.q, robot("ur5").home)
    play.run(0.8, place=HERE)
    assert play.wish.hold_reason is None and play.wish.state.qd[0] > 0.1
    play.run(0.4, **shown)  # brakes in the midst of a motion
    assert words in play.wish.hold_reason and play.stands(0.4, **shown)
    assert play.wish.opening == robot("ur5").gripper.max_opening
    accelerations = np.diff([s.qd for s in play.track[::5]], axis=0) / (5 * TICK)
    assert (np.abs(accelerations) <= 1.001 * robot("ur5").acceleration).all()
    play.run(0.8, place=THERE)
    assert play.wish.hold_reason is None and play.wish.state.qd[0] > 0.1


def test_without_a_block_a_learned_grasp_stays_at_home() -> None:
    play = Play(eager())
    play.run(1.0)
    assert play.reasons == [BLOCK_NOT_DETECTED]
    np.testing.assert_allclose(play.q, robot("ur5").home, atol=1e-9)


def test_when_the_block_is_lost_a_learned_grasp_goes_home_and_looks() -> None:
    play = Play(eager())
    play.run(0.3, place=HERE)
    play.run(DETECTION_TIMEOUT / 2)
    assert play.reasons == [None] and np.abs(play.q - robot("ur5").home).max() > 0.5
    play.run(DETECTION_TIMEOUT / 2 + 8.0)
    assert play.reasons == [None, BLOCK_NOT_DETECTED]
    np.testing.assert_allclose(play.q, robot("ur5").home, atol=0.01)
    play.run(0.3, place=HERE)
    assert play.wish.hold_reason is None


def test_a_block_in_the_gripper_is_not_doubted_for_being_in_the_air() -> None:
    grasp = eager()
    grasp.observation_builder.grasped = True
    grasp.on_detection(seen(0.0, FAR, size=0.06))
    assert grasp.detection_gate.reason is None and not grasp.observation_builder.estimate.count


@pytest.mark.parametrize("case", ["double", "size"])
def test_the_script_stops_on_its_way_to_a_wrong_block_and_looks_anew(case: str) -> None:
    shown, words = WRONG[case]
    play = Play(ScriptedGrasp(robot("ur5"), SCENE))
    play.run(0.6, place=HERE)
    assert play.wish.phase == "approach" and np.abs(play.wish.state.qd).max() > 0.05
    play.run(RAMP_TIME + PICTURE, **shown)
    assert (
        play.stands(1.0, **shown)
        and words in play.wish.hold_reason
        and play.wish.phase == "detect"
    )
    accelerations = np.diff([s.qd for s in play.track], axis=0) / TICK
    assert (np.abs(accelerations) <= robot("ur5").acceleration).all()
    while play.wish.phase != "descend" and play.time < 6:
        play.run(TICK, place=THERE)
    tool = robot("ur5").forward_kinematics(play.q)[:2, 3]
    np.testing.assert_allclose(tool, THERE, atol=2e-3)


def test_the_script_names_the_block_that_is_out_of_reach_and_where_it_could_be() -> None:
    play = Play(ScriptedGrasp(robot("ur5"), SCENE))
    assert play.stands(1.0, place=(1.4, 0.2))
    assert "x 1.40, y 0.20 m: out of reach of 'ur5'" in play.wish.hold_reason
    assert str(block_area(SCENE)) in play.wish.hold_reason
    play.run(0.8, place=HERE)
    assert play.wish.hold_reason is None and play.wish.phase == "approach"


def test_the_script_stops_while_it_carries_and_goes_on_where_it_was() -> None:
    play, alone = (Play(ScriptedGrasp(robot("ur5"), SCENE)) for _ in range(2))
    for one in (play, alone):
        one.run(1.0, place=HERE)
        while one.wish.phase != "carry":
            one.opening = SCENE.block_size if one.wish.opening == 0 else 0.085
            one.run(TICK, place=HERE)
    play.run(0.2, place=HERE)
    play.run(RAMP_TIME + PICTURE, refused=describe_duplicate(0))
    assert play.stands(0.5, refused=describe_duplicate(0)) and play.wish.opening == 0
    for one in (play, alone):
        while one.wish.phase == "carry":
            one.run(TICK, place=HERE)
    np.testing.assert_allclose(play.grasp.q, alone.grasp.q, atol=1e-9)


def test_time_of_a_motion_that_is_never_stopped_is_real_time_to_the_last_bit() -> None:
    pace, rng = TimeScaling(), np.random.default_rng(0)
    times = 1.7e9 + np.cumsum(rng.uniform(0, 0.1, 100))
    assert all(pace.update(time, True) == time for time in times)


def test_a_motion_that_is_stopped_keeps_its_derivatives() -> None:
    pace, times, states = TimeScaling(), np.arange(0.0, 3.0, 1e-3), []
    for time in times:
        now = pace.update(time, not 0.5 < time < 1.5)
        q = np.array([np.sin(now)])
        states.append(pace.scale(State(q, np.array([np.cos(now)]), -q)))
    q, qd, qdd = (np.concatenate(column) for column in zip(*states, strict=True))
    np.testing.assert_allclose(np.gradient(q, times)[1:-1], qd[1:-1], atol=2e-3)
    bends = np.array([0.5, 1.0, 1.5, 2.0])  # where it begins and ends to slow down, to speed up
    smooth = np.abs(times[:, None] - bends).min(axis=1) > 5e-3
    np.testing.assert_allclose(np.gradient(qd, times)[smooth][1:-1], qdd[smooth][1:-1], atol=5e-3)
    assert pace.rate == 1.0
    stopped = (times > 1.01) & (times < 1.49)
    assert not qd[stopped].any()
