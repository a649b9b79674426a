from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from oracle import robot
from safetensors.torch import load_file, save_file

from invdyn_ros.models.checkpoint import load, save
from invdyn_ros.models.checkpoint_files import CHECKSUM_KEY, metadata_checksum
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.robot import package_file


@pytest.fixture(params=list(MODELS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a checkpoint of each family with random tensors."""
    r = robot("ur5")
    meta = ModelMetadata(
        request.param,
        "ur5",
        r.joint_names,
        "N m",
        125.0,
        0.012,
        r.rigid_body_urdf(),
        {},
        {"name": "toy"},
        (16, 16),
    )
    model = build(meta)
    for value in model.state_dict().values():
        value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    save(model, meta, tmp_path / "checkpoint")
    torch.save(model.state_dict(), tmp_path / "state.pt")  # for comparison
    return tmp_path / "checkpoint"


def test_loaded_model_equals_the_saved_one_bit_for_bit(folder: Path) -> None:
    model = load(folder, robot=robot("ur5"))
    for name, value in torch.load(folder.parent / "state.pt").items():
        assert torch.equal(value, model.state_dict()[name])
    assert (model.meta.action_delay, model.meta.joint_names) == (0.012, robot("ur5").joint_names)
    assert not model.training


def test_checkpoint_needs_no_urdf_file(folder: Path) -> None:
    assert load(folder).meta.urdf == robot("ur5").rigid_body_urdf()


def test_checkpoint_holds_no_pickle_and_no_other_file(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["meta.json", "model.safetensors"]


def test_saving_again_leaves_no_temporary_file(folder: Path) -> None:
    model = load(folder)
    save(model, model.meta, folder)
    assert len(list(folder.iterdir())) == 2
    load(folder)


def _edit(edit_values: Callable[[dict], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / "meta.json").read_text())
        edit_values(values)
        signed = values | {CHECKSUM_KEY: metadata_checksum(values)}
        (folder / "meta.json").write_text(json.dumps(signed))

    return edit


def _tensors(edit_values: Callable[[dict], None], signed: bool = False) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit_values(tensors)
        save_file(tensors, folder / "model.safetensors")
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        if signed:
            _edit(lambda v: v.update(sha256=sha256))(folder)

    return edit


def _unsigned(folder: Path) -> None:
    text = (folder / "meta.json").read_text()
    (folder / "meta.json").write_text(text.replace("0.012", "0.013"))


def _repeated_key(folder: Path) -> None:
    text = (folder / "meta.json").read_text()
    (folder / "meta.json").write_text(text.replace("{", '{"robot": "ur10",', 1))


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _flip(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"motion_mean": [0.0]}))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no meta": (lambda f: (f / "meta.json").unlink(), "no checkpoint: meta.json is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "cut json": (lambda f: (f / "meta.json").write_text("{"), "not JSON"),
    "foreign json": (lambda f: (f / "meta.json").write_text('{"a": 1}'), "is not of a checkpoint"),
    "list": (lambda f: (f / "meta.json").write_text("[]"), "is not of a checkpoint"),
    "family": (_edit(lambda v: v.update(family="delan")), "no model family 'delan'"),
    "field": (_edit(lambda v: v.update(config={"foo": 1})), "unknown field 'foo'"),
    "no action delay": (
        _edit(lambda v: v.pop("action_delay")),
        "'action_delay' of ModelMetadata is missing",
    ),
    "unsigned": (_unsigned, "was changed after it was written"),
    "repeated key": (_repeated_key, "key 'robot' is given twice"),
    "nested": (lambda f: (f / "meta.json").write_text("[" * 100_000), "nested too deeply"),
    "delay": (_edit(lambda v: v.update(action_delay=1e308)), r"action_delay is 1e\+308 s"),
    "rate": (_edit(lambda v: v.update(rate=-1.0)), "rate is -1"),
    "unit": (_edit(lambda v: v.update(action_unit="V")), "action_unit is 'V'"),
    "twins": (_edit(lambda v: v.update(joint_names=["a", "a"])), "a name is given twice"),
    "size": (_edit(lambda v: v["config"].update(width=10**9)), "a size is 1e\\+09"),
    "not finite": (_tensors(lambda t: t["target_mean"].fill_(torch.nan), signed=True), "finite"),
    "cut weights": (_cut, "damaged"),
    "one bit": (_flip, "sha256"),
    "pickle": (_pickle, "damaged"),
    "missing": (_tensors(lambda t: t.pop("motion_std")), "tensor 'motion_std' is missing"),
    "extra": (_tensors(lambda t: t.update(x=torch.zeros(1))), "unexpected tensor 'x'"),
    "shape": (
        _tensors(lambda t: t.update(motion_mean=torch.zeros(3))),
        r"'motion_mean' has shape \(3,\).*\(18,\)",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_described_in_one_line(folder: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    damage(folder)
    for read in (load, load_runtime):
        with pytest.raises(ValueError, match=message) as raised:
            read(folder)
        assert "\n" not in str(raised.value)
        assert str(folder) in str(raised.value)


def test_torque_model_that_calls_itself_a_servo_is_refused(tmp_path: Path) -> None:
    for name in ("meta.json", "model.safetensors"):
        shutil.copy(package_file("config/checkpoints/ur5") / name, tmp_path)
    load(tmp_path)
    _edit(lambda v: v.update(action_unit="rad"))(tmp_path)
    for read in (load, load_runtime):
        with pytest.raises(ValueError, match=r"it predicts .* rad for .* at rest"):
            read(tmp_path)


def test_changed_metadata_can_be_signed_with_the_checksum_in_the_message(folder: Path) -> None:
    _unsigned(folder)
    with pytest.raises(ValueError, match="was changed") as raised:
        load(folder)
    checksum = re.search(r'set "metadata_sha256": "(\w+)"', str(raised.value)).group(1)
    values = json.loads((folder / "meta.json").read_text()) | {CHECKSUM_KEY: checksum}
    (folder / "meta.json").write_text(json.dumps(values))
    assert load(folder).meta.action_delay == 0.013


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no checkpoint folder .*none"):
        load(tmp_path / "none")


def test_checkpoint_of_an_arm_with_other_joints_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'ur5' with joints shoulder_pan.*'dofbot' has joint_1"):
        load(folder, robot=robot("dofbot"))


def test_checkpoint_of_another_arm_with_the_same_joint_names_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="was trained for 'ur5', not for 'ur5e'"):
        load(folder, robot=robot("ur5e"))


def test_unknown_device_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="'tpu' is not one of"):
        load(folder, device="tpu")


@pytest.mark.parametrize("writes", range(4))
def test_interrupted_save_leaves_the_old_or_the_new_checkpoint(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = robot("ur5")
    meta = ModelMetadata(
        "mlp", "ur5", r.joint_names, "N m", r.rate, 0.0, "", {"width": 8, "depth": 1}
    )
    old, new = MLP(meta), MLP(meta)
    torch.nn.init.ones_(new.net[0].weight)
    save(old, meta, tmp_path)
    rename, done = Path.replace, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal done
        if done == writes:
            raise KeyboardInterrupt
        done += 1
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    try:
        save(new, meta, tmp_path)
    except KeyboardInterrupt:
        assert writes < 3
    expected = new if writes > 1 else old
    torch.testing.assert_close(load(tmp_path).state_dict(), expected.state_dict(), rtol=0, atol=0)
