"""Units of effort: what is converted, what is refused, and what a URDF says about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import SLOW, excitation, robot
from test_rosbag import UR10

from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.data.action_units import (
    ACTION_UNITS,
    CURRENT,
    SETPOINT,
    TORQUE,
    TORQUE_WITHOUT_GRAVITY,
    gravity_sign,
)
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import windows
from invdyn_ros.graph.graph import resolve
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.effort_fit import effort_line, fit_effort
from invdyn_ros.models.fallback_metadata import FALLBACK_KEY, MAX_STD_KEY
from invdyn_ros.models.gravity import convert_actions, for_commands
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.sources.rosbag import BagConfig, read_bag

ARM = robot("ur5")
URDF = ARM.rigid_body_urdf()
EFFORT_UNITS = (TORQUE, TORQUE_WITHOUT_GRAVITY, CURRENT, SETPOINT)
CURRENT_PER_TORQUE = 0.08  # [A/(N m)]
STIFFNESS = 2000.0  # [N m/rad] of a servo


def without_gravity(trajectory: Trajectory) -> Trajectory:
    """The torques of a recording less those that hold the arm, by MuJoCo."""
    still = np.zeros(trajectory.n)
    held = [ARM.inverse_dynamics(q, still, still) for q in trajectory.position]
    action = trajectory.action - np.array(held)
    return replace(trajectory, action=action, action_unit=TORQUE_WITHOUT_GRAVITY)


def identified(trajectory: Trajectory, **data: object) -> InverseDynamics:
    """A rigid body that was identified from one recording."""
    fields = (trajectory.action_unit, ARM.rate, 0.0, URDF, {"coulomb_velocity": SLOW})
    model = build(ModelMetadata("rigid_body", "ur5", ARM.joint_names, *fields, dict(data)))
    rows = windows([trajectory], dtype=model.dtype)
    model.fit(rows, rows)
    return model.eval()


def test_torques_are_converted_by_the_gravity_of_the_urdf() -> None:
    torque = excitation(ARM, 0, seconds=0.5)
    bare = convert_actions(torque, TORQUE_WITHOUT_GRAVITY, URDF)
    np.testing.assert_allclose(bare.action, without_gravity(torque).action, atol=1e-9)
    back = convert_actions(bare, TORQUE, URDF)
    np.testing.assert_allclose(back.action, torque.action, atol=1e-9)
    assert (bare.action_unit, back.action_unit) == (TORQUE_WITHOUT_GRAVITY, TORQUE)


def test_no_other_unit_is_ever_converted() -> None:
    torques = {TORQUE, TORQUE_WITHOUT_GRAVITY}
    for unit in ACTION_UNITS:
        for requested in ACTION_UNITS:
            if unit == requested or {unit, requested} == torques:
                assert abs(gravity_sign(unit, requested)) == (unit != requested)
            else:
                with pytest.raises(ValueError, match="cannot be converted"):
                    gravity_sign(unit, requested)


def test_model_of_torques_without_gravity_gives_whole_torques_as_commands() -> None:
    torque = excitation(ARM, 1)
    model = identified(without_gravity(torque), urdf_compliance=[1.0] * ARM.n)
    motion, time = torque.motion[None], torque.time[None]
    bare = TorchPredictor(model).predict(motion, time).mean[0]
    # an identification with gravity in its rigid body would be off by up to 80 N m
    assert np.abs(bare - without_gravity(torque).action).max() < 0.5
    commands = for_commands(fastest_runtime(model))
    assert commands.meta.action_unit == TORQUE
    whole = commands.predict(motion, time).mean[0]
    assert np.abs(whole - torque.action).max() < 0.5
    np.testing.assert_allclose(commands.act(torque.motion[50]), whole[50], atol=1e-9)
    # so does the fallback of a model
    data = {FALLBACK_KEY: {MAX_STD_KEY: [1.0] * ARM.n}}
    model.meta = replace(model.meta, data=model.meta.data | data)
    fallback = fallback_from_metadata(for_commands(model).meta)
    assert fallback is not None
    rigid = fallback.model.predict(motion, time).mean[0, 50]
    np.testing.assert_allclose(
        rigid, ARM.inverse_dynamics(*np.split(torque.motion[50], 3)), atol=1e-9
    )


def test_live_graph_takes_a_model_without_gravity_and_refuses_one_of_currents(
    tmp_path: Path,
) -> None:
    for unit in (TORQUE_WITHOUT_GRAVITY, CURRENT):
        fields = (unit, ARM.rate, 0.0, URDF, {"identify": False})
        model = build(ModelMetadata("rigid_body", "ur5", ARM.joint_names, *fields))
        save(model, model.meta, tmp_path / unit)
    checkpoint = {"checkpoint": str(tmp_path / TORQUE_WITHOUT_GRAVITY), "camera": "none"}
    units = [spec.parameters.get("unit") for spec in resolve("teleop", checkpoint)]
    assert TORQUE in units and TORQUE_WITHOUT_GRAVITY not in units
    with pytest.raises(ValueError, match="takes 'rad'"):
        resolve("teleop", checkpoint | {"target": "real"})


@pytest.mark.parametrize("true_unit", EFFORT_UNITS)
def test_urdf_tells_the_unit_of_an_effort(true_unit: str) -> None:
    recording = excitation(ARM, 2)
    recordings = {
        TORQUE: recording,
        TORQUE_WITHOUT_GRAVITY: without_gravity(recording),
        CURRENT: replace(recording, action=CURRENT_PER_TORQUE * recording.action),
        SETPOINT: replace(recording, action=recording.position + recording.action / STIFFNESS),
    }
    fit = fit_effort(ARM, [recordings[true_unit]])
    assert fit.likeliest() == true_unit
    assert [u for u in EFFORT_UNITS if not fit.contradicts(u)] == [true_unit]
    assert "URDF and friction explain" in effort_line(fit)


def test_urdf_that_explains_little_tells_no_unit() -> None:
    recording = excitation(ARM, 2, seconds=2.0)
    noise = np.random.default_rng(0).normal(size=recording.action.shape)
    fit = fit_effort(ARM, [replace(recording, action=noise)])
    assert not fit.contradicts(CURRENT) and "in no unit" in effort_line(fit)


@pytest.mark.skipif(not UR10.exists(), reason=f"no recording {UR10.name} beside the project")
def test_effort_of_the_real_ur10_is_a_torque_with_gravity() -> None:
    ur10 = robot("ur10")
    trajectories = read_bag(UR10, ur10.joint_names, BagConfig("N m")).trajectories
    fit = fit_effort(ur10, trajectories)
    assert [u for u in EFFORT_UNITS if not fit.contradicts(u)] == [TORQUE]
