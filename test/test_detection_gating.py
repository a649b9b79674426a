"""Grasps hold while detections are implausible: too far, ambiguous, of another size, missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.control.motion_profile import State
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
from invdyn_ros.grasp.policies.time_scaling import RAMP_TIME
from invdyn_ros.perception.block_detections import describe_duplicate
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
)
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import block_pose

SCENE = load_scene("ur5")
UR5 = load_robot("ur5")
TICK, IMAGE_PERIOD = 0.008, 0.1  # [s]
POSITION, OTHER_POSITION, FAR_POSITION = (0.45, 0.05), (0.52, -0.06), (0.9, 0.1)  # [m]
OPEN = 0.085  # [m]


def detection(
    time: float, position: tuple[float, float] = POSITION, size: float = np.nan
) -> BlockDetection:
    centre = np.array([*position, SCENE.block_size / 2])
    return BlockDetection(time, centre, 0.3, np.full(4, 1e-6), size)


def constant_grasp() -> LearnedGrasp:
    """A grasp whose policy always moves the first joint."""
    size = ObservationBuilder(UR5, SCENE, 7).size
    policy = MLPPolicy(PolicyMetadata("ur5", size, 7, (4,), "clip", "sac"))
    with torch.no_grad():
        for layer in policy.layers:
            layer.weight.zero_(), layer.bias.zero_()
        policy.layers[-1].bias += torch.tensor([0.3, 0, 0, 0, 0, 0, 1.0])
    return LearnedGrasp(UR5, SCENE, policy)


class Rollout:
    """A grasp whose commands the arm follows exactly, with given detections."""

    def __init__(self, grasp: LearnedGrasp | ScriptedGrasp) -> None:
        self.grasp, self.time, self.q = grasp, 0.0, UR5.home.copy()
        self.opening = OPEN
        self.states: list[State] = []
        self.hold_reasons: list[str | None] = []

    def run(self, seconds: float, position=None, size=np.nan, invalid: str | None = None) -> None:
        """Continue with images of a block at a position, invalid images, or none with a block."""
        for _ in range(round(seconds / TICK)):
            if len(self.states) % round(IMAGE_PERIOD / TICK) == 0:
                if invalid is not None:
                    self.grasp.on_invalid_image(self.time, invalid)
                elif position is None:
                    self.grasp.on_no_detection(self.time)
                else:
                    self.grasp.on_detection(detection(self.time, position, size))
            self.grasp.update_joints(self.q, np.zeros(6))
            command = self.grasp.command(self.time, self.opening, TICK)
            step = 1.0 if command.horizon is None else min(1.0, TICK / command.horizon)
            self.q = self.q + (command.state.q - self.q) * step
            self.states.append(command.state)
            if [command.hold_reason] != self.hold_reasons[-1:]:
                self.hold_reasons.append(command.hold_reason)
            self.command, self.time = command, self.time + TICK

    def is_still(self, seconds: float, **images) -> bool:
        """Run for some time; return whether the arm stayed at rest."""
        start = self.q
        self.run(seconds, **images)
        return np.abs(self.q - start).max() < 1e-6 and not self.command.state.qd.any()


def test_apparent_size_is_that_of_a_block_on_the_table() -> None:
    camera_position, nominal = np.array([0.8, 0.1, 0.4]), 0.04
    for size in (0.02, 0.03, 0.04, 0.07):
        centre = np.array([0.45, 0.05, size / 2])
        # where a detector that assumes the nominal size locates it
        located = camera_position + (centre - camera_position) * nominal / size
        assert apparent_size(located, camera_position, nominal / 2) == pytest.approx(size)
    above = camera_position + np.array([0.3, 0, 0.01])
    assert apparent_size(above, camera_position, nominal / 2) == np.inf


@pytest.mark.parametrize("size", [0.03, 0.04, 0.05])
def test_an_image_of_a_block_of_another_size_is_rejected(size: float) -> None:
    T_base_block = block_pose(*POSITION, size / 2, 0.4)
    with SceneRenderer(UR5, replace(SCENE, block_size=size)) as renderer:
        image = renderer.render(UR5.home, 0.05, T_base_block[None])
    camera, half = SCENE.camera, SCENE.block_size / 2
    detector = BlockDetector(BlockDetectorConfig(SCENE.block_size), camera.intrinsics())
    (block,) = detector.detect(image)
    on_table = detection_on_table(
        0.0, block.T_camera_block, block.covariance, camera.T_base_camera, half
    )
    assert on_table.apparent_size == pytest.approx(size, rel=0.03)
    gate = DetectionGate(SCENE)
    assert gate.accept(on_table) == (size == SCENE.block_size)
    if gate.reason is not None:
        assert f"looks {1e3 * size:.0f} mm wide" in gate.reason and "40 mm" in gate.reason


def test_an_uncertain_depth_widens_the_size_tolerance() -> None:
    gate = DetectionGate(SCENE)
    assert not gate.accept(detection(0.0, size=0.05))
    assert gate.accept(detection(9.0, size=0.05)._replace(variance=np.full(4, 0.03**2)))


def test_a_rejection_is_cleared_by_accepted_images_after_a_delay() -> None:
    gate, reason = DetectionGate(SCENE), describe_duplicate(0)
    gate.reject(1.0, reason)
    assert gate.reason == reason and "two blocks with id 0" in reason
    assert gate.accept(detection(1.0 + CLEAR_DELAY / 2)) and gate.reason is not None
    gate.clear(1.0 + 1.1 * CLEAR_DELAY)
    assert gate.reason is None


def test_the_message_is_not_updated_for_every_millimetre() -> None:
    rng, gate = np.random.default_rng(0), DetectionGate(SCENE, training_area(SCENE))
    reasons = set()
    for k in range(200):
        gate.accept(detection(k / 10, tuple(FAR_POSITION + 0.01 * rng.uniform(-1, 1, 2))))
        reasons.add(gate.reason)
    assert len(reasons) == 1
    gate.accept(detection(20.0, (1.5, 0.5)))
    assert "x 1.50, y 0.50 m" in gate.reason


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_training_area_contains_the_blocks_of_the_scene_and_the_goal(arm: str) -> None:
    scene, rng = load_scene(arm), np.random.default_rng(0)
    area = training_area(scene)
    assert all(area.contains(scene.sample_block_pose(rng)[:2, 3]) for _ in range(100))
    assert area.contains(np.array(scene.goal[:2])) and not area.contains(np.array([2.0, 0.0]))


def test_a_pose_that_is_not_finite_is_rejected() -> None:
    assert not DetectionGate(SCENE).accept(detection(0.0, (np.nan, 0.1)))


IMPLAUSIBLE = {
    "far": ({"position": FAR_POSITION}, "x 0.90, y 0.10 m"),
    "duplicate": ({"invalid": describe_duplicate(0)}, "two blocks with id 0"),
    "size": ({"position": POSITION, "size": 0.06}, "looks 60 mm wide"),
}


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_a_learned_grasp_holds_on_implausible_images_and_then_continues(case: str) -> None:
    images, reason = IMPLAUSIBLE[case]
    rollout = Rollout(constant_grasp())
    assert rollout.is_still(0.4, **images) and reason in rollout.command.hold_reason
    np.testing.assert_allclose(rollout.q, UR5.home)
    rollout.run(0.8, position=POSITION)
    assert rollout.command.hold_reason is None and rollout.command.state.qd[0] > 0.1
    rollout.run(0.4, **images)  # brakes during a motion
    assert reason in rollout.command.hold_reason and rollout.is_still(0.4, **images)
    assert rollout.command.opening == UR5.gripper.max_opening
    accelerations = np.diff([s.qd for s in rollout.states[::5]], axis=0) / (5 * TICK)
    assert (np.abs(accelerations) <= 1.001 * UR5.acceleration).all()
    rollout.run(0.8, position=OTHER_POSITION)
    assert rollout.command.hold_reason is None and rollout.command.state.qd[0] > 0.1


def test_a_learned_grasp_stays_at_home_without_a_block() -> None:
    rollout = Rollout(constant_grasp())
    rollout.run(1.0)
    assert rollout.hold_reasons == [BLOCK_NOT_DETECTED]
    np.testing.assert_allclose(rollout.q, UR5.home, atol=1e-9)


def test_a_learned_grasp_returns_home_when_detections_stop() -> None:
    rollout = Rollout(constant_grasp())
    rollout.run(0.3, position=POSITION)
    rollout.run(DETECTION_TIMEOUT / 2)
    assert rollout.hold_reasons == [None] and np.abs(rollout.q - UR5.home).max() > 0.5
    rollout.run(DETECTION_TIMEOUT / 2 + 8.0)
    assert rollout.hold_reasons == [None, BLOCK_NOT_DETECTED]
    np.testing.assert_allclose(rollout.q, UR5.home, atol=0.01)
    rollout.run(0.3, position=POSITION)
    assert rollout.command.hold_reason is None


def test_detections_of_a_grasped_block_are_not_checked() -> None:
    grasp = constant_grasp()
    grasp.observation_builder.grasped = True
    grasp.on_detection(detection(0.0, FAR_POSITION, size=0.06))
    assert grasp.detection_gate.reason is None and not grasp.observation_builder.estimate.count


@pytest.mark.parametrize("case", ["duplicate", "size"])
def test_the_script_stops_its_approach_on_implausible_images_and_detects_again(case: str) -> None:
    images, reason = IMPLAUSIBLE[case]
    rollout = Rollout(ScriptedGrasp(UR5, SCENE))
    rollout.run(0.6, position=POSITION)
    assert rollout.command.phase == "approach"
    assert np.abs(rollout.command.state.qd).max() > 0.05
    rollout.run(RAMP_TIME + IMAGE_PERIOD, **images)
    assert rollout.is_still(1.0, **images) and reason in rollout.command.hold_reason
    assert rollout.command.phase == "detect"
    accelerations = np.diff([s.qd for s in rollout.states], axis=0) / TICK
    assert (np.abs(accelerations) <= UR5.acceleration).all()
    while rollout.command.phase != "descend" and rollout.time < 6:
        rollout.run(TICK, position=OTHER_POSITION)
    tool = UR5.forward_kinematics(rollout.q)[:2, 3]
    np.testing.assert_allclose(tool, OTHER_POSITION, atol=2e-3)


def test_the_script_names_a_block_out_of_reach_and_the_area_for_it() -> None:
    rollout = Rollout(ScriptedGrasp(UR5, SCENE))
    assert rollout.is_still(1.0, position=(1.4, 0.2))
    assert "x 1.40, y 0.20 m: out of reach of 'ur5'" in rollout.command.hold_reason
    assert str(block_area(SCENE)) in rollout.command.hold_reason
    rollout.run(0.8, position=POSITION)
    assert rollout.command.hold_reason is None and rollout.command.phase == "approach"


def test_the_script_pauses_while_it_carries_and_ends_at_the_same_place() -> None:
    paused, undisturbed = (Rollout(ScriptedGrasp(UR5, SCENE)) for _ in range(2))
    for rollout in (paused, undisturbed):
        rollout.run(1.0, position=POSITION)
        while rollout.command.phase != "carry":
            rollout.opening = SCENE.block_size if rollout.command.opening == 0 else OPEN
            on_table = rollout.command.phase in ("approach", "verify")
            rollout.run(TICK, position=POSITION if on_table else None)
    duplicate = {"invalid": describe_duplicate(0)}
    paused.run(0.2)  # the camera does not see the block in the gripper
    paused.run(RAMP_TIME + IMAGE_PERIOD, **duplicate)
    assert paused.is_still(0.5, **duplicate) and paused.command.opening == 0
    for rollout in (paused, undisturbed):
        while rollout.command.phase == "carry":
            rollout.run(TICK)
    np.testing.assert_allclose(paused.grasp.q, undisturbed.grasp.q, atol=1e-9)
