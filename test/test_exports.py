"""Rigid-body models as C source, URDF and MJCF give the torques of the model."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from test_dynamics import CART_JOINTS, CART_XML
from test_export import make, meta

from invdyn_ros.cli import run_verb
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.export_parity import random_motion
from invdyn_ros.models.exports.c_source import c_source
from invdyn_ros.models.exports.description import DRAKE, mjcf_text, urdf_text
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.urdf import UrdfTree
from invdyn_ros.typing import Array


def physical(arm: str = "ur5") -> RigidBody:
    """Return a model with other masses, and friction of its own."""
    model = make("rigid_body", arm)
    assert isinstance(model, RigidBody)
    model.friction.abs_()
    model.tree.inertial.mul_(torch.linspace(0.5, 2.0, model.n)[:, None])
    return model


def motion_of(model: RigidBody, count: int = 40) -> tuple[Array, Array]:
    """Return random frames (count, 3, n) and the actions (count, n) of the model."""
    motion, time = random_motion(model, count)
    action = model.predict(motion, time).mean[:, 0].numpy()
    return motion[:, 0].numpy().reshape(count, 3, model.n), action


@pytest.mark.parametrize("arm", ["ur5", "dofbot", "cart"])
def test_c_source_compiles_without_a_warning_and_equals_the_model(arm, tmp_path: Path) -> None:
    """Also with masses of no body, branches, prismatic joints and servos."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    cart = replace(meta("rigid_body"), robot="cart", joint_names=CART_JOINTS, urdf=CART_XML)
    model = build(cart) if arm == "cart" else make("rigid_body", arm)
    assert isinstance(model, RigidBody)
    model.tree.inertial.add_(torch.randn(model.n, 10, generator=torch.Generator().manual_seed(1)))
    model.friction_filter_time.uniform_(0.0, 0.2)
    gear_friction = tuple((0.1 * (k + 1), 0.05 * k, 0.2 - 0.02 * k) for k in range(model.n))
    model.meta = replace(model.meta, gear_friction=gear_friction)
    for suffix, text in zip((".c", ".h"), c_source(model, "arm"), strict=True):
        (tmp_path / f"arm{suffix}").write_text(text)
    library = tmp_path / "arm.so"
    options = [
        "-std=c99",
        "-O2",
        "-Wall",
        "-Wextra",
        "-pedantic",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
    ]
    subprocess.run([compiler, *options, library, tmp_path / "arm.c", "-lm"], check=True)
    function = ctypes.CDLL(str(library)).arm_inverse_dynamics
    pointer = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    function.argtypes, function.restype = [pointer] * 4, None
    frames, expected = motion_of(model)
    action = np.empty(model.n)
    for (q, qd, qdd), right in zip(frames, expected, strict=True):
        function(q, qd, qdd, action)
        np.testing.assert_allclose(action, right, rtol=0, atol=1e-9)


def test_urdf_of_friction_that_it_cannot_hold_is_refused() -> None:
    model = physical()
    model.meta = replace(model.meta, gear_friction=((0.1, 0.02, 0.1),) * model.n)
    for text in (urdf_text, mjcf_text):
        with pytest.raises(ValueError, match="--gear_friction false"):
            text(model)


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_urdf_and_mjcf_give_the_torques_of_the_model(arm: str) -> None:
    model = physical(arm)
    frames, expected = motion_of(model)
    (q, qd, qdd), (_, coulomb, offset, rotor) = frames.swapaxes(0, 1), model.friction.numpy().T
    expected = expected - offset - coulomb * np.tanh(qd / model.config.coulomb_velocity)
    mj_model = mujoco.MjModel.from_xml_string(mjcf_text(model))
    np.testing.assert_array_equal(mj_model.dof_frictionloss, coulomb)
    mj_model.opt.disableflags |= (
        mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
    )  # friction is discontinuous
    data = mujoco.MjData(mj_model)
    for i, torque in enumerate(expected):
        data.qpos[:], data.qvel[:], data.qacc[:] = frames[i]
        mujoco.mj_inverse(mj_model, data)
        np.testing.assert_allclose(data.qfrc_inverse, torque, rtol=0, atol=1e-9)
    urdf = urdf_text(model)
    again = build(replace(model.meta, urdf=urdf))
    assert isinstance(again, RigidBody)
    rigid = again.tree.torque(*(torch.from_numpy(x) for x in (q, qd, qdd))).numpy()
    joints = {joint.get("name"): joint for joint in UrdfTree(urdf).element.findall("joint")}
    dynamics = [joints[name].find("dynamics") for name in model.meta.joint_names]
    damping = np.array([float(element.get("damping")) for element in dynamics])
    rotors = [next(joints[n].iter(f"{{{DRAKE}}}rotor_inertia")) for n in model.meta.joint_names]
    np.testing.assert_allclose([float(r.get("value")) for r in rotors], rotor)
    np.testing.assert_allclose(rigid + damping * qd + rotor * qdd, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "arm", "out", "message"),
    [
        ("hybrid", "ur5", "a.c", "family hybrid; .c holds only rigid_body"),
        ("rigid_body", "dofbot", "a.urdf", "in 'rad', but a URDF or MJCF describes torques"),
        ("unphysical", "ur5", "a.xml", "'forearm_link' of this model has mass -2 kg"),
        ("rigid_body", "ur5", "7-a.c", "'7-a' is no name of a C function"),
        ("rigid_body", "ur5", "a.pt", "does not end with .onnx, .c, .urdf, .xml"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, capfd, family, arm, out, message) -> None:
    model = make("rigid_body" if family == "unphysical" else family, arm)
    if family == "unphysical":
        model.get_submodule("tree").inertial[2, 0] = -2.0
    save(model, model.meta, tmp_path / "model")
    arguments = ["--checkpoint", str(tmp_path / "model"), "--out", str(tmp_path / out)]
    assert run_verb("export", arguments) != 0
    assert message in capfd.readouterr().err and not (tmp_path / out).exists()
