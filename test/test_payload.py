"""Payloads: file, parameters, and identification from two recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import SLOW, excitation, robot, torque

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.models.payload_file import load_payload, save_payload
from invdyn_ros.robots.payload import Payload
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot

ARM = robot("ur5")
TIP = ARM.tip_link
PAYLOAD = Payload(
    TIP,
    1.5,
    (0.01, -0.02, 0.05),
    ((0.004, 0.001, 0.0), (0.001, 0.003, 0.0), (0.0, 0.0, 0.003)),
    (1.4, 1.6),
    ((0.0, 0.02), (-0.03, -0.01), (0.04, 0.06)),
    ((0.003, 0.005),) * 6,
)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_payload_survives_its_file(tmp_path: Path, suffix: str) -> None:
    save_payload(PAYLOAD, tmp_path / f"payload{suffix}")
    assert load_payload(tmp_path / f"payload{suffix}") == PAYLOAD


def test_torque_at_rest_is_the_weight_at_the_centre() -> None:
    names, urdf = ARM.joint_names, ARM.rigid_body_urdf()
    tree = RigidBodyTree.from_urdf(urdf, names)
    q, still = np.random.default_rng(0).uniform(-1, 1, 6), np.zeros(6)
    added = torch.from_numpy(PAYLOAD.inertial_parameters(urdf, names))
    rows = (torch.from_numpy(x) for x in (q, still, still))
    torque = tree.torque(*rows, inertial=added).numpy()
    T, J = ARM.forward_kinematics(q), ARM.jacobian(q)
    arm = T[:3, :3] @ np.array(PAYLOAD.center)
    weight = np.array([0.0, 0.0, 9.81 * PAYLOAD.mass])  # what holds it
    expected = J[:3].T @ weight + J[3:].T @ np.cross(arm, weight)
    np.testing.assert_allclose(torque, expected, atol=1e-9)


def loaded_torque(arm: Robot, motion: np.ndarray) -> np.ndarray:
    """Return the torque of an arm with PAYLOAD and more friction."""
    q, qd, qdd = np.split(motion, 3, axis=1)
    names, urdf = arm.joint_names, arm.rigid_body_urdf()
    tree = RigidBodyTree.from_urdf(urdf, names)
    added = torch.from_numpy(PAYLOAD.inertial_parameters(urdf, names))
    rows = (torch.from_numpy(x) for x in (q, qd, qdd))
    friction = 0.5 * qd + 1.0 * np.tanh(qd / SLOW)
    return torque(arm, motion) + friction + tree.torque(*rows, inertial=added).numpy()


def test_payload_is_the_difference_of_two_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for folder, seeds, action in (("a", (0, 1), torque), ("b", (2, 3), loaded_torque)):
        parts = [excitation(ARM, seed, action=action) for seed in seeds]
        noisy = [replace(t, action=t.action + rng.normal(0, 0.1, t.action.shape)) for t in parts]
        noisy[0].action[::50] += 30.0  # spikes
        write_dataset(tmp_path / folder, noisy, "ur5", ARM.rate)
    words = ["--without", str(tmp_path / "a"), "--with", str(tmp_path / "b")]
    file = tmp_path / "payload.yaml"
    assert run_verb("identify", ["payload", *words, "--out", str(file)]) == 0
    assert "95% intervals" in capsys.readouterr().out
    identified = load_payload(file)
    assert identified.mass == pytest.approx(PAYLOAD.mass, rel=0.02)
    np.testing.assert_allclose(identified.center, PAYLOAD.center, atol=5e-3)
    np.testing.assert_allclose(identified.inertia, PAYLOAD.inertia, atol=5e-3)
    assert identified.mass_ci95 is not None and identified.center_ci95 is not None
    assert identified.mass_ci95[1] - identified.mass_ci95[0] < 0.1
    words = ["--without", str(tmp_path / "b"), "--with", str(tmp_path / "a"), "--overwrite"]
    assert run_verb("identify", ["payload", *words, "--out", str(file)]) == 2
    assert "no mass was added" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mass: 1.0\ncenter: [0, 0, 0]", "field 'link' of Payload is missing"),
        ("link: tool\nmass: -1.0\ncenter: [0, 0, 0]", "mass is -1.0"),
        ("link: tool\nmass: 1.0\ncenter: [0, 0]", "center"),
        ("link: tool\nmass: 1.0\ncenter: [0, 0, 99]", "must be within 10 m"),
        (
            "link: tool\nmass: 1\ncenter: [0, 0, 0]\ninertia: [[9, 0, 0], [0, 1, 0], [0, 0, 1]]",
            "principal moments 1, 1, 9",
        ),
    ],
)
def test_impossible_payloads_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "payload.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        load_payload(tmp_path / "payload.yaml")


def test_payload_of_another_arm_is_refused() -> None:
    urdf = ARM.rigid_body_urdf()
    with pytest.raises(ValueError, match="no link 'hand'"):
        Payload("hand", 1.0, (0.0, 0.0, 0.0)).inertial_parameters(urdf, ARM.joint_names)
    with pytest.raises(ValueError, match="no joint moves"):
        Payload(ARM.base_link, 1.0, (0.0, 0.0, 0.0)).inertial_parameters(urdf, ARM.joint_names)
