"""Friction of joints at rest, which depends on how they came there."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from oracle import COULOMB, SLOW, robot, torque

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import whole_trajectories, windows
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.presliding import maxwell_slip
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.robot import Robot

ARM = robot("ur5")
HELD = 0.6  # of the Coulomb friction that a joint at rest holds
DISPLACEMENT = 5e-4  # [rad]


def point_to_point(arm: Robot, seed: int, fraction: float) -> Trajectory:
    """Return motions between random postures, with rests, of an arm with presliding."""
    rng = np.random.default_rng(seed)
    time = np.arange(500) / 100  # of one motion [s]
    phase = np.clip(time / 3, 0, 1)  # 2 s of rest
    u = phase**3 * (10 - 15 * phase + 6 * phase**2)
    goals = np.cumsum(rng.uniform(-0.6, 0.6, (4, arm.n)), axis=0)
    q = np.concatenate([a + np.outer(u, b - a) for a, b in pairwise(goals)])
    qd = np.gradient(q, 0.01, axis=0)
    qdd = np.gradient(qd, 0.01, axis=0)
    motion = np.concatenate([q, qd, qdd], axis=1)
    state = maxwell_slip(q, np.full(arm.n, DISPLACEMENT), np.zeros(arm.n))
    action = torque(arm, motion) + fraction * COULOMB * (state - np.tanh(qd / SLOW))
    action += rng.normal(0, 0.05, action.shape)
    stamps = np.arange(len(q)) / 100
    return Trajectory(stamps, q, qd, qdd, action, arm.joint_names, "N m")


def identified(fraction: float) -> RigidBody:
    """Return a model that is identified from such motions."""
    names, urdf = ARM.joint_names, ARM.rigid_body_urdf()
    config = {"coulomb_velocity": SLOW}
    model = RigidBody(ModelMetadata("rigid_body", "ur5", names, "N m", 100.0, 0.0, urdf, config))
    parts = [[point_to_point(ARM, seed, fraction)] for seed in range(2)]
    model.fit(windows(parts[0]), windows(parts[1]))
    model.identify_presliding(*([*whole_trajectories(part)] for part in parts))
    return model.eval()


def test_direction_of_the_last_motion_is_kept_at_rest() -> None:
    q = np.array([0.0, 0.5, 1.0, 1.0, 0.8, 0.8, -2.0, -2.0])[:, None]
    state = maxwell_slip(q, np.array([0.4]), np.zeros(1))[:, 0]
    np.testing.assert_allclose(state, [0, 1, 1, 1, 0.5, 0.5, -1, -1])
    fine = np.interp(np.linspace(0, 7, 701), np.arange(8), q[:, 0])[:, None]  # any speed
    states = maxwell_slip(fine, np.array([[0.4], [0.1]]), np.zeros(1))
    assert states.shape == (2, 701, 1)
    np.testing.assert_allclose(states[0, ::100, 0], state, atol=1e-12)


def test_torque_at_rest_is_explained_by_how_the_joint_came_there() -> None:
    model = identified(HELD)
    displacement, held = np.array(model.meta.presliding).T
    np.testing.assert_allclose(displacement, DISPLACEMENT)
    np.testing.assert_allclose(held, HELD * COULOMB, rtol=0.2)
    memoryless = RigidBody(replace(model.meta, presliding=()))
    memoryless.load_state_dict(model.state_dict())
    (data,) = whole_trajectories([point_to_point(ARM, 5, HELD)])
    commands = [m.predict(data.motion, data.time).mean for m in (model, memoryless)]
    torch.testing.assert_close(*commands, rtol=0, atol=0)  # what an arm is driven with
    stands = data.motion[..., 6:12].abs() < 0.05
    errors = [
        (m.as_recorded(command, data.motion) - data.action).square()
        for m, command in zip((model, memoryless), commands, strict=True)
    ]
    assert errors[0][stands].mean() < 0.2 * errors[1][stands].mean()
    assert errors[0][~stands].mean() < 1.1 * errors[1][~stands].mean()


def test_no_memory_is_found_where_there_is_none() -> None:
    assert identified(0.0).meta.presliding == ()


def test_presliding_of_another_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="presliding is"):
        ModelMetadata(
            "rigid_body", "ur5", ("a", "b"), "N m", 100.0, 0.0, "", presliding=((1.0, 1.0),)
        )
