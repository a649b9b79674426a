"""Training runs: several processes, interruptions, logs, averaged weights, mixed precision."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from dropout_family import VALUES, Dropout
from dropout_family import fit as fit_dropout
from oracle import excitation, robot
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from invdyn_ros.cli import run_verb
from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.windows import Windows, windows
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS
from invdyn_ros.training.data_preparation import SplitConfig, split_train_val_test
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.training.trainer import Trainer, TrainerConfig, Validation
from invdyn_ros.training.training_state import Progress, RunState

TEST_DIR = Path(__file__).parent
CONFIG = TEST_DIR.parent / "config" / "train" / "mlp.yaml"
SMALL = {"width": 32, "depth": 1, "epochs": 6, "batch_size": 64, "action_delay": 0.012}
TIMEOUT = 100.0  # [s] until a hanging process is killed


class Weight(torch.nn.Module):
    """A weight that should become zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def loss(self, *columns: torch.Tensor) -> torch.Tensor:
        return (columns[0] * self.weight).square().mean()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainer") / "data"
    ur5 = robot("ur5")
    write_dataset(
        folder, [excitation(ur5, seed, 0.012, 2.0) for seed in range(6)], "ur5", ur5.rate
    )
    return folder


def fit(data: Path, out: Path, resume: bool = False, **values: object) -> list[Progress]:
    progress: list[Progress] = []
    config = parse_train_config(load_yaml(CONFIG) | SMALL | values, "test")
    train(config, data, out, resume, on_epoch=progress.append)
    return progress


def cli_arguments(data: Path, out: Path, **values: object) -> list[str]:
    fields = [
        word for name, value in (SMALL | values).items() for word in (f"--{name}", str(value))
    ]
    return ["--config", str(CONFIG), "--data", str(data), "--out", str(out), *fields]


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def losses(folder: Path) -> torch.Tensor:
    return torch.tensor(json.loads((folder / "training.json").read_text())["losses"])


@pytest.mark.slow
@pytest.mark.timeout(300)  # several processes, one after another
def test_two_processes_have_the_losses_of_one(data: Path, tmp_path: Path) -> None:
    _, inner = split_train_val_test(read_dataset(data).trajectories, SplitConfig(0.2, 0))
    size = windows(inner.train, action_delay=0.012).size
    # an odd batch size, and a last batch of one window, which leaves one process without any
    batch = next(b for b in range(99, size, 2) if size % b == 1)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run += ["-m", "invdyn_ros", "train"]
    arguments = cli_arguments(data, tmp_path / "two", batch_size=batch)
    process = subprocess.run(
        [*run, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert process.returncode == 0 and process.stdout.count("mlp for ur5") == 1, process.stderr
    fit(data, tmp_path / "one", batch_size=batch)
    one, two = (losses(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    first, second = (list(load(tmp_path / name).parameters()) for name in ("one", "two"))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.timeout(300)  # several processes, one after another
def test_killed_and_resumed_run_equals_an_uninterrupted_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "dropout", Dropout)
    monkeypatch.setattr("invdyn_ros.training.trainer.SAVE_INTERVAL", 0.0)
    arguments = [sys.executable, str(TEST_DIR / "dropout_family.py"), str(data)]
    child = subprocess.Popen(
        [*arguments, str(tmp_path / "interrupted")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(3):
        interrupted_epoch = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)  # during the next epoch or while its state is written
    assert child.wait(TIMEOUT) == -signal.SIGKILL
    child.stdout.close()
    load(tmp_path / "interrupted")  # the best weights so far
    epochs = fit_dropout(data, tmp_path / "interrupted", resume=True)
    assert interrupted_epoch < epochs[0] and epochs[-1] == VALUES["epochs"]
    assert len(fit_dropout(data, tmp_path / "uninterrupted")) == VALUES["epochs"]
    assert sha256(tmp_path / "interrupted") == sha256(tmp_path / "uninterrupted")
    assert torch.equal(losses(tmp_path / "interrupted"), losses(tmp_path / "uninterrupted"))
    assert not list((tmp_path / "interrupted").glob(".*"))  # no temporary files are left


def test_full_disk_is_one_line_and_keeps_the_old_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(data, tmp_path / "out", epochs=1)
    before = sha256(tmp_path / "out")
    limit = (tmp_path / "out/last.safetensors").stat().st_size // 2
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        code = run_verb("train", [*cli_arguments(data, tmp_path / "out", seed=5), "--overwrite"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and line.startswith("invdyn train: ") and "File too large" in line
    assert sha256(tmp_path / "out") == before
    load(tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_bad_row_is_named_and_keeps_the_old_checkpoint(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "out", epochs=1)
    before = sha256(tmp_path / "out")
    (file,) = (data / "data").rglob("*.parquet")
    content = file.read_bytes()
    table = pq.read_table(file).to_pydict()
    table["action"][7][0] = float("nan")
    try:
        pq.write_table(pa.table(table, schema=pq.read_schema(file)), file)
        with pytest.raises(ValueError, match=r"nan|finite"):
            fit(data, tmp_path / "out", epochs=1)
    finally:
        file.write_bytes(content)
    assert sha256(tmp_path / "out") == before
    load(tmp_path / "out")


def test_another_error_than_the_loss_chooses_the_weights(tmp_path: Path) -> None:
    model = Weight()
    ones = torch.ones(8, 1, 1)
    errors = iter([5.0, 3.0, 4.0])
    tried: list[torch.Tensor] = []

    def error() -> float:
        tried.append(model.weight.detach().clone())
        return next(errors)

    settings = TrainerConfig(epochs=4, batch_size=4, early_stopping_patience=10)
    state = RunState(tmp_path, {}, ModelMetadata("mlp", "toy", ("j",), "N m", 1.0, 0.0, ""))
    data = Windows(ones, ones, ones)
    trainer = Trainer(model, data, data, settings, 0, state, validation=Validation(error, 2))
    progress = trainer.run()
    assert (progress.best_epoch, progress.best_val_loss) == (2, 3.0)
    assert torch.equal(model.weight, tried[1])


def test_training_stops_early_without_improvement(data: Path, tmp_path: Path) -> None:
    progress = fit(data, tmp_path, epochs=50, learning_rate=0.5, early_stopping_patience=3)
    assert progress[-1].epoch == progress[-1].best_epoch + 3 < 50


def test_log_has_each_epoch_once_after_an_interruption(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invdyn_ros.training.trainer.SAVE_INTERVAL", 0.0)

    def stop(progress: Progress) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parse_train_config(load_yaml(CONFIG) | SMALL, "test"), data, tmp_path, on_epoch=stop)
    fit(data, tmp_path, resume=True)
    log = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(log.Tags()["scalars"]) == {
        "loss/train", "loss/val", "learning_rate", "gradient_norm", "epoch_seconds"
    }  # fmt: skip
    logged = {event.step: event.value for event in log.Scalars("loss/val")}
    assert [event.step for event in log.Scalars("learning_rate")] == [1, 2, 3, 4, 5, 6]
    val_losses = losses(tmp_path)[:, 1].tolist()
    assert [logged[epoch] for epoch in range(1, 7)] == pytest.approx(val_losses, rel=1e-6)


def test_ema_weights_are_validated_and_saved(data: Path, tmp_path: Path) -> None:
    for ema in (0.0, 0.95):
        fit(data, tmp_path / str(ema), epochs=2, ema_decay=ema)
    first, second = (losses(tmp_path / name) for name in ("0.0", "0.95"))
    assert torch.equal(first[:, 0], second[:, 0])  # the same optimizer steps
    assert not torch.equal(first[:, 1], second[:, 1])  # other weights validated
    assert sha256(tmp_path / "0.0") != sha256(tmp_path / "0.95")


def test_on_a_cpu_fp16_has_no_effect_and_bf16_a_small_one(data: Path, tmp_path: Path) -> None:
    for name in ("none", "fp16", "bf16"):
        fit(data, tmp_path / name, epochs=2, amp=name)
    assert sha256(tmp_path / "none") == sha256(tmp_path / "fp16")
    assert sha256(tmp_path / "none") != sha256(tmp_path / "bf16")
    torch.testing.assert_close(
        losses(tmp_path / "none"), losses(tmp_path / "bf16"), atol=0.02, rtol=0
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("amp", ["none", "bf16", "fp16"])
def test_losses_on_gpu_and_cpu_are_close(amp: str, data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "cpu")
    fit(data, tmp_path / "gpu", device="cuda", amp=amp)
    torch.testing.assert_close(
        losses(tmp_path / "cpu"), losses(tmp_path / "gpu"), atol=0.02, rtol=0
    )
