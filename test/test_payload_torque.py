"""A payload that is known: its torque, the arm that carries it, and what knowing it gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plant_oracle import robot

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.evaluation.closed_loop import point_to_point_motion, replay
from invdyn_ros.graph.graph import resolve
from invdyn_ros.models.payload_file import save_payload
from invdyn_ros.models.payload_torque import PayloadTorque
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.payload import Payload
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.robot import package_file

ARM = robot("ur5")
INERTIA = ((2e-3, 1e-4, 0.0), (1e-4, 2e-3, 0.0), (0.0, 0.0, 1e-3))
PAYLOAD = Payload(ARM.tip_link, 1.0, (0.0, 0.02, 0.05), INERTIA)
CHECKPOINT = str(package_file("config/checkpoints/ur5"))


@pytest.fixture(scope="module")
def model():
    return load_runtime(CHECKPOINT, "cpu", ARM)


def test_torque_of_a_payload_is_what_the_arm_needs_more_that_carries_it(model):
    loaded, known = ARM.carrying(PAYLOAD), PayloadTorque(model, model.meta, PAYLOAD)
    for motion in np.random.default_rng(0).normal(size=(5, 3, 6)):
        more = loaded.inverse_dynamics(*motion) - ARM.inverse_dynamics(*motion)
        frame = motion.ravel()
        np.testing.assert_allclose(known.act(frame) - model.act(frame), more, atol=1e-9)
        predicted = known.predict(frame[None, None], np.zeros((1, 1))).mean[0, 0]
        np.testing.assert_allclose(predicted, known.act(frame))


def test_simulated_arm_that_carries_a_payload_stands_by_its_gravity():
    loaded, still = ARM.carrying(PAYLOAD), np.zeros(6)
    simulation = Simulation(loaded, IDEAL_PLANT)
    for _ in range(10):
        simulation.step(loaded.inverse_dynamics(ARM.home, still, still))
    assert np.abs(simulation.true_state()[1]).max() < 2e-3


def test_known_payload_is_carried_as_precisely_as_none(model):
    desired, loaded = point_to_point_motion(ARM, 0, 4.0), ARM.carrying(PAYLOAD)
    delay = model.meta.action_delay
    known = PayloadTorque(model, model.meta, PAYLOAD)
    rms = {
        name: replay(arm, driver, "N m", delay, desired).rms
        for name, arm, driver in (
            ("none", ARM, model),
            ("unknown", loaded, model),
            ("known", loaded, known),
        )
    }
    assert rms["known"] < 1.2 * rms["none"] < 0.2 * rms["unknown"], rms


def test_live_controller_stops_and_checks_with_the_payload(tmp_path, model):
    file = tmp_path / "payload.yaml"
    save_payload(PAYLOAD, file)
    controller = load_controller(ARM, CHECKPOINT, payload=str(file)).controller
    frame, loaded = np.concatenate([ARM.home, np.zeros(12)]), ARM.carrying(PAYLOAD)
    gravity = loaded.inverse_dynamics(ARM.home, np.zeros(6), np.zeros(6))
    np.testing.assert_allclose(controller.actions._check.model.nominal(frame), gravity)
    known, driver = PayloadTorque(model, model.meta, PAYLOAD), controller.actions
    action = driver.tracking_controller.model.act(frame)
    np.testing.assert_allclose(action, known.act(frame))


def test_graph_gives_the_payload_to_controller_and_simulator_or_says_why_not(tmp_path):
    file = tmp_path / "payload.yaml"
    save_payload(PAYLOAD, file)
    specs = {s.name: s for s in resolve("gravity_compensation", {"payload": str(file)})}
    for name in ("inverse_dynamics", "simulator"):
        assert specs[name].parameters["payload"] == str(file)
    save_payload(replace(PAYLOAD, link="flange"), tmp_path / "other.yaml")
    for values, message in (
        ({"arm": "dofbot", "payload": str(file)}, "needs commands in 'N m'"),
        ({"payload": str(tmp_path / "other.yaml")}, "no link 'flange'"),
        ({"payload": str(tmp_path / "none.yaml")}, "none.yaml"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            resolve("grasp_sim", values)
