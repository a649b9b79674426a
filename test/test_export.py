from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from oracle import excitation, robot
from test_dynamics import CART_JOINTS, CART_XML
from torch import Tensor

from invdyn_ros.cli import run_verb
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.data.windows import windows
from invdyn_ros.graph.graph import resolve
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.export_parity import TOLERANCE, check_parity, max_difference, random_motion
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.onnx import ONNXModel, load_onnx
from invdyn_ros.models.onnx_export import export, serialize
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.models.runtime import RUNTIMES, fastest_runtime, load_runtime
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.typing import Array


def meta(family: str, arm: str = "ur5", **config: object) -> ModelMetadata:
    r = robot(arm)
    return ModelMetadata(
        family,
        arm,
        r.joint_names,
        r.action_unit,
        r.rate,
        0.008,
        r.rigid_body_urdf(),
        config,
        {},
        (32, 48),
    )


CONFIGS: dict[str, dict[str, object]] = {"keypoints": {"channels": [8, 16, 16], "crop_size": 16}}


def make(family: str, arm: str = "ur5") -> InverseDynamics:
    """Return an untrained model with the standardisation of some data."""
    torch.manual_seed(0)
    model = build(meta(family, arm, **CONFIGS.get(family, {}))).eval()
    motion = excitation(robot(arm), 0, seconds=1.0)
    if model.input_type == "pixels":
        noise = np.random.default_rng(0).integers(0, 256, (len(motion), 32, 48, 3), np.uint8)
        motion = replace(motion, frames=noise)
    data = windows([motion], model.n_obs_steps, 0.0, model.dtype, model.input_type)
    model.standardise(data)
    if family == "rigid_body":
        noise = torch.randn(model.n, 4, generator=torch.Generator().manual_seed(1))
        model.get_buffer("friction").copy_(noise)
    if family == "residual":  # its last layer starts at zero
        torch.nn.init.normal_(model.get_parameter("net.4.weight"))
    if model.input_type == "pixels":
        model.get_buffer("smoothing_weights").uniform_()
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a UR5; its exported file is beside it."""
    folder = tmp_path_factory.mktemp("models") / "ur5"
    model = make("rigid_body")
    save(model, model.meta, folder)
    assert run_verb("export", ["--checkpoint", str(folder), "--out", f"{folder}.onnx"]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "arm"),
    [(name, "ur5") for name in MODELS]
    + [(name, "dofbot") for name, family in MODELS.items() if family.input_type == "motion"],
)
def test_exported_file_predicts_like_the_model(family: str, arm: str, tmp_path: Path) -> None:
    model = make(family, arm)
    file = tmp_path / "deep" / "model.onnx"
    export(model, file)
    onnx.checker.check_model(onnx.load(file))
    loaded = load_onnx(file, robot(arm))
    assert (loaded.meta, loaded.n_obs_steps) == (model.meta, model.n_obs_steps)
    assert list(file.parent.iterdir()) == [file]
    for batch_size in (3, 1, 200):  # other sizes than the traced one
        inputs = [x.numpy() for x in random_motion(model, batch_size, seed=batch_size + 1)]
        expected, actual = TorchPredictor(model).predict(*inputs), loaded.predict(*inputs)
        scale = max(expected.mean.std(), float(model.target_std.min()))
        assert np.abs(actual.mean - expected.mean).max() / scale < TOLERANCE
        assert (actual.std is None) == (expected.std is None)


@pytest.mark.parametrize("family", MODELS)
def test_fastest_runtime_predicts_like_the_model(family: str) -> None:
    model = make(family)
    runtime = fastest_runtime(model)
    assert runtime.meta == model.meta and runtime.n_obs_steps == model.n_obs_steps
    assert max_difference(model, runtime) < TOLERANCE
    assert isinstance(runtime, RUNTIMES.get(family, ONNXModel))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", RUNTIMES)
def test_checkpoint_runs_without_torch_as_the_model_does(family: str, tmp_path: Path) -> None:
    model = make(family)
    save(model, model.meta, tmp_path)
    runtime = load_runtime(tmp_path)
    assert isinstance(runtime, RUNTIMES[family]) and max_difference(model, runtime) < TOLERANCE


def test_family_that_cannot_be_exported_runs_in_eager_torch() -> None:
    model = UnsupportedOperation(meta("mlp")).eval()
    runtime = fastest_runtime(model)
    assert isinstance(runtime, TorchPredictor) and runtime.model is model


def assert_equals_in_mujoco(model: InverseDynamics) -> None:
    motion, time = random_motion(model, 50)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    actual = MujocoRigidBody.from_tensors(model.meta, tensors).predict(
        motion.numpy(), time.numpy()
    )
    expected = model.predict(motion, time).mean
    np.testing.assert_allclose(actual.mean, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa", "dofbot"])
def test_mujoco_rigid_body_supports_unphysical_parameters(arm: str) -> None:
    model = build(meta("rigid_body", arm))
    generator = torch.Generator().manual_seed(2)
    tree = model.get_submodule("tree")
    tree.inertial.copy_(torch.randn(model.n, 10, generator=generator))  # negative masses too
    for name in ("friction", "compliance"):
        model.get_buffer(name).copy_(torch.randn(model.get_buffer(name).shape))
    assert_equals_in_mujoco(model)


def test_mujoco_rigid_body_supports_branches_and_prismatic_joints() -> None:
    cart = replace(meta("rigid_body"), robot="cart", joint_names=CART_JOINTS, urdf=CART_XML)
    model = build(cart)
    assert_equals_in_mujoco(model)


def test_ill_conditioned_parameters_are_refused(tmp_path: Path) -> None:
    model = make("rigid_body")
    model.get_submodule("tree").inertial[1, 0] = -7.8e14  # [kg]
    save(model, model.meta, tmp_path)
    with pytest.raises(
        ValueError, match="this checkpoint is ill-conditioned, train it again"
    ) as raised:
        load_runtime(tmp_path)
    assert str(tmp_path) in str(raised.value)


class RandomPredictions(MLP):
    """A family with random predictions."""

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        mean, std = super().predict(motion, time)
        return Prediction(mean + torch.rand_like(mean), std)


class UnsupportedOperation(MLP):
    """A family with an operation that ONNX does not have."""

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        mean, std = super().predict(motion, time)
        return Prediction(torch.special.bessel_j0(mean), std)


@pytest.mark.parametrize("family", [RandomPredictions, UnsupportedOperation])
def test_failed_export_writes_no_file(
    family: type[MLP], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="family 'mlp' cannot be exported to ONNX") as raised:
        export(family(meta("mlp")).eval(), tmp_path / "m.onnx")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
    assert "".join(capfd.readouterr()) == ""


def test_parity_error_states_the_difference() -> None:
    model = make("mlp")

    class Other(TorchPredictor):
        def predict(self, motion: Array, time: Array) -> PredictedAction:
            actual = super().predict(motion, time)
            return actual._replace(mean=actual.mean * 1.01)

    same, other = TorchPredictor(model), Other(model)
    assert max_difference(model, same) == 0 < 1e-3 < max_difference(model, other)
    with pytest.raises(ValueError, match="pair: its actions differ by"):
        check_parity(model, other, "pair")


def _foreign(file: Path) -> None:
    content = onnx.load(file)
    del content.metadata_props[:]
    onnx.save(content, file)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (_cut, "damaged or no ONNX file"),
    "text": (lambda file: file.write_text("hello"), "damaged or no ONNX file"),
    "empty": (lambda file: file.write_bytes(b""), "damaged or no ONNX file"),
    "one bit": (_flip, "damaged"),
    "foreign": (_foreign, "was not written by 'invdyn export'"),
    "missing": (lambda file: file.unlink(), "written by 'invdyn export'"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_bad_file_is_one_line_and_exit_code_2(
    folder: Path, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGE[name]
    file = Path(shutil.copy(f"{folder}.onnx", tmp_path / "model.onnx"))
    damage(file)
    assert run_verb("launch", ["grasp_sim", f"checkpoint:={file}"]) == 2
    output = capfd.readouterr()
    assert message in output.err and str(file) in output.err
    assert output.err.count("\n") == 1 and not output.out


def test_file_of_another_arm_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="was trained for 'ur5', not for 'dofbot'"):
        resolve("grasp_sim", {"arm": "dofbot", "checkpoint": f"{folder}.onnx"})
    with pytest.raises(ValueError, match="was trained for 'ur5', not for 'ur5e'"):
        load_runtime(f"{folder}.onnx", "auto", robot("ur5e"))


def test_onnx_file_on_gpu_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="runs on the CPU; use device auto or cpu"):
        load_runtime(f"{folder}.onnx", "cuda")


def test_graph_accepts_folder_and_file(folder: Path) -> None:
    for checkpoint in (str(folder), f"{folder}.onnx"):
        nodes = {
            node.name: node.parameters for node in resolve("teleop", {"checkpoint": checkpoint})
        }
        assert nodes["inverse_dynamics"]["checkpoint"] == checkpoint
        assert nodes["simulator"]["unit"] == "N m"


def test_folder_and_file_give_the_same_commands(folder: Path) -> None:
    arm, commands = robot("ur5"), []
    for path in (folder, f"{folder}.onnx"):
        model = load_runtime(path, "auto", arm)
        controller = ArmController(arm, model, model.meta.action_unit, model.meta.action_delay)
        controller.engage(True)
        rows = []
        for k in range(20):
            q = arm.home + 0.02 * (k / 125) ** 2
            controller.set_target(Target(k / 125, State(q + 0.01, np.zeros(6), np.zeros(6)), 0.1))
            rows.append(
                controller.update(MeasuredState(k / 125, q, np.full(6, 0.04 * k / 125))).action
            )
        commands.append(np.array(rows))
    np.testing.assert_allclose(*commands, rtol=1e-9, atol=1e-9)
    assert np.ptp(commands[0], axis=0).min() > 0


def test_session_from_memory_predicts_like_the_model() -> None:
    model = make("mlp")
    assert max_difference(model, ONNXModel(serialize(model), "memory")) < TOLERANCE
