"""The names that programs import: predictions, training and a loop of one's own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import invdyn_ros
from invdyn_ros.training.run_config import find_config

N = 6
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    return invdyn_ros.load("ur5")


def random_motion(*shape):
    """Position, velocity and acceleration, (..., n) each."""
    return RNG.normal(0, 1, (3, *shape, N)) * np.array([1, 0.5, 2]).reshape(
        3, *[1] * len(shape), 1
    )


def hinge_recording(seconds=2.0):
    time = np.arange(int(100 * seconds)) / 100
    q = np.sin(RNG.uniform(2, 6) * time)[:, None]
    qd, empty = np.gradient(q, 0.01, axis=0), np.empty((0, 1))
    return invdyn_ros.Trajectory(time, q, qd, empty, 2 * q, ("hinge",), "N m")


def test_names_are_importable_and_documented_and_nothing_is_imported_before():
    assert set(dir(invdyn_ros)) == set(invdyn_ros.__all__)
    for name in set(invdyn_ros.__all__) - {"__version__"}:
        assert getattr(invdyn_ros, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        invdyn_ros.lode  # noqa: B018
    code = "import invdyn_ros, sys; print(len([m for m in sys.modules if m in ('numpy','torch')]))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "0\n"


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)])
def test_prediction_has_the_shape_of_the_position(model, shape):
    q, qd, qdd = random_motion(*shape)
    actions = model.predict(q, qd, qdd)
    assert actions.torque_nm.shape == q.shape and actions.unit == "N m"
    flat = [x.reshape(-1, N) for x in (q, qd, qdd)]
    single = [model.predict(*row).values for row in zip(*flat, strict=True)]
    np.testing.assert_allclose(actions.values.reshape(-1, N), np.array(single).reshape(-1, N))
    with pytest.raises(AttributeError, match="are in 'N m', not 'A'"):
        actions.current_a  # noqa: B018


def test_next_position_gives_the_acceleration_that_leads_there(model):
    (q, qd, qdd), dt = random_motion(4), 0.05
    q_next = q + dt * qd + dt**2 / 2 * qdd
    expected = model.predict(q, qd, qdd).torque_nm
    np.testing.assert_allclose(model.predict(q, qd, q_next=q_next, dt=dt).torque_nm, expected)
    tensors = [torch.tensor(x) for x in (q, qd, qdd)]
    result = model.predict(*tensors).torque_nm
    assert isinstance(result, torch.Tensor)
    np.testing.assert_allclose(result.numpy(), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"qd": np.zeros(5)}, r"qd has shape \(5,\); give that of q, \(6,\)"),
        ({"q": np.zeros(7), "qd": np.zeros(7)}, r"q has shape \(7,\); .* needs \(..., 6\)"),
        ({"qd": None}, "qd is missing; give qd, too"),
        ({"qd": np.full(N, np.nan)}, "qd is not finite"),
        ({"qdd": None}, "qdd is missing; give qdd, or q_next with dt"),
        ({"q_next": np.zeros(N)}, "qdd and q_next exclude each other"),
        ({"qdd": None, "q_next": np.zeros(N)}, r"q_next needs dt > 0 \[s\], got None"),
        ({"qdd": None, "q_next": np.zeros(N), "dt": -1.0}, "got -1.0"),
    ],
)
def test_wrong_arguments_are_named(model, arguments, message):
    zero = {"q": np.zeros(N), "qd": np.zeros(N), "qdd": np.zeros(N)}
    with pytest.raises(ValueError, match=message):
        model.predict(**(zero | arguments))


def test_unknown_model_names_the_shipped_ones():
    with pytest.raises(ValueError, match=r"ur55 is neither a folder nor a shipped model: .*ur5e"):
        invdyn_ros.load("ur55")


def test_model_of_several_frames_is_trained_from_arrays(tmp_path):
    data = [hinge_recording() for _ in range(6)]
    settings = {"epochs": 1, "action_delay": 0.0}
    trained = invdyn_ros.train(data, tmp_path / "gru", "gru", **settings)
    q = data[0].position[:40]
    actions = trained.predict(q, q, q, dt=0.01)
    assert actions.values.shape == q.shape and trained.joint_names == ("hinge",)
    with pytest.raises(ValueError, match=r"depends on \d+ frames; .* and dt"):
        trained.predict(q, q, q)
    assert "nmse" in invdyn_ros.evaluate(trained, [hinge_recording()])
    with pytest.raises(ValueError, match=r"gru exists; .*overwrite=True"):
        invdyn_ros.train(data, tmp_path / "gru", "gru", **settings)
    with pytest.raises(ValueError, match="epoch"):
        invdyn_ros.train(data, tmp_path / "new", "gru", epoch=1)
    with pytest.raises(ValueError, match="grus"):
        invdyn_ros.train(data, tmp_path / "new", "grus")


def test_controller_holds_stops_and_refuses_targets_of_other_arms(model):
    controller = invdyn_ros.Controller("ur5", model, speed=0.5)
    home, rest = controller.robot.home, np.zeros(N)
    with pytest.raises(ValueError, match=r"target has shape \(5,\); expected \(6,\)"):
        controller.step(home, rest, np.zeros(5))
    command = controller.step(home, rest, home, time=1.0)
    assert command.action is not None and controller.fault is None
    controller.stop()
    commands = [controller.step(home, rest, time=1 + k / 125) for k in range(1, 250)]
    assert commands[-1].action is None and commands[-1].reason
    with pytest.raises(ValueError, match="ur5"):
        invdyn_ros.Controller("kuka_iiwa", model)


def test_config_is_found_by_name_in_any_folder_or_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("mlp").is_file() and find_config("latent_ode").is_file()
    file = Path("mlp.yaml")
    file.write_text("family: gru")
    assert find_config("mlp.yaml") == file
    for wrong in ("mlps", "config/train/mlp", "mlp/mlp.yaml"):
        with pytest.raises(ValueError, match=f"{wrong} is neither a file nor .*: bridge, .*mlp"):
            find_config(wrong)


def test_sources_are_named():
    with pytest.raises(ValueError, match="no source 'simulation'; there are sim, bag"):
        invdyn_ros.collect("simulation")
    (first, *_) = invdyn_ros.collect("pendulum", pendulum={"episodes": 2, "steps": 20})
    assert isinstance(first, invdyn_ros.Trajectory)
