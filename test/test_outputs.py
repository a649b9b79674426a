"""Commands never replace what an earlier run wrote, unless told to."""

import importlib
import pkgutil
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import invdyn_ros.benchmarks
import invdyn_ros.cli
from invdyn_ros.cli import train
from invdyn_ros.data.output_options import NAMES, OutputOptions, claim
from invdyn_ros.graph.graph import resolve

OUT = "earlier"
COMMANDS = [
    *(f"{v} --checkpoint c --data d --out {OUT}" for v in ("label", "visualize trajectories")),
    *(f"{v} --checkpoint c --out {OUT}.{s}" for v, s in (("export", "c"), ("export", "onnx"))),
    f"convert --checkpoint c --out {OUT}",
    f"train --config f.yaml --data d --out {OUT}",
    f"train --config f.yaml --data d --out new --report {OUT}.json",
    f"train --config f.yaml --data d --out new --watch {OUT}.html",
    f"evaluate --checkpoint c --data d --report {OUT}.json",
    f"evaluate --checkpoint c --data d --report new.json --plots {OUT}",
    f"train_grasp --out {OUT}",
    f"train_planner --data d --out {OUT}",
    f"train_block_pose --out {OUT}",
    f"collect sim --out {OUT}",
    f"collect expert --out {OUT}",
    f"collect grasp bag --out {OUT}",
    f"calibrate bag bag --mounting eye_to_hand --out {OUT}.yaml",
    f"calibrate camera folder --out {OUT}.yaml",
    f"excite --out {OUT}.npz",
    f"excite --out new.npz --film {OUT}.mp4",
    f"identify arm --out {OUT}",
    f"identify payload --without d --with d --out {OUT}.yaml",
    f"print_board --out {OUT}.pdf",
    f"print_block --out {OUT}.pdf",
    f"visualize network --out new.html {OUT}.gif",
    f"visualize report {OUT}.json",
    f"benchmark simulation --report {OUT}.json",
]
SUFFIXES = ("c", "h", "onnx", "json", "html", "yaml", "pdf", "gif", "mp4", "npz")


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """Results of an earlier run, in every format."""
    monkeypatch.chdir(tmp_path)
    Path(OUT).mkdir()
    for file in (f"{OUT}/model", *(f"{OUT}.{suffix}" for suffix in SUFFIXES)):
        Path(file).write_text("hours of work")
    return contents(tmp_path)


def run(command):
    verb, *words = command.split()
    return importlib.import_module(f"invdyn_ros.cli.{verb}").main(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_existing_output_is_refused_and_kept(command, earlier, tmp_path):
    with pytest.raises(ValueError, match=rf"{OUT}.* exists; give another one, .*--overwrite"):
        run(command)
    assert contents(tmp_path) == earlier


def test_header_beside_a_c_file_is_kept(earlier):
    Path(f"{OUT}.c").unlink()
    with pytest.raises(ValueError, match=rf"{OUT}\.h exists"):
        run(f"export --checkpoint c --out {OUT}.c")


def test_overwrite_permits_the_output_but_no_foreign_folder(earlier, tmp_path):
    with pytest.raises(ValueError, match="exists and is not a dataset"):
        run(f"collect sim --out {OUT} --overwrite")
    with pytest.raises(ValueError, match=r"f\.yaml"):
        run(f"train --config f.yaml --data d --out {OUT} --overwrite")
    assert contents(tmp_path) == earlier


@pytest.mark.parametrize(
    "command",
    [
        "collect dataset data --out data",
        "label --checkpoint model --data data --out data/../data",
        "train --config mlp --data data --out link",
        "convert --checkpoint model --out model",
        "evaluate --checkpoint model --data data --report model/meta.json",
        "collect sim --minutes 0.01 --episode-seconds 0.6 --workers 1 --out data",
    ],
)
def test_inputs_and_foreign_files_are_never_replaced(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("data/meta/info.json", "data/thesis.txt", "model/meta.json"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("{}")
    Path("link").symlink_to("data")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"this command reads|part of a checkpoint|other files"):
        run(f"{command} --overwrite")
    assert contents(tmp_path) == before


def test_only_one_process_writes_an_output(tmp_path):
    code = "import sys; from pathlib import Path; from invdyn_ros.data.output_options import claim"
    code += "; claim(Path(sys.argv[1])); print('claimed', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(ValueError, match=r"another command writes .* now"):
            claim(tmp_path / "out")
        other.kill()
        other.wait()
    claim(tmp_path / "out")


def test_resumed_run_may_write_where_it_began(earlier):
    with pytest.raises(ValueError, match=r"f\.yaml"):
        train.main(f"--config f.yaml --data d --out {OUT} --watch {OUT}.html --resume".split())


@pytest.mark.parametrize("name", ["report.json", "report.html", "grasp.mp4", "summary.png"])
def test_live_run_keeps_the_files_of_an_earlier_report(name, tmp_path):
    file = tmp_path / name
    file.write_text("hours of work")
    arguments = {"report": str(tmp_path / "report.json")}
    with pytest.raises(ValueError, match=f"{file} exists; .*overwrite:=true"):
        resolve("grasp_sim", arguments)
    resolve("grasp_sim", arguments | {"overwrite": "true"})
    assert file.read_text() == "hours of work"


def test_played_motion_keeps_an_earlier_dataset(earlier, tmp_path):
    arguments = {"motion": f"{OUT}.npz", "out": OUT}
    with pytest.raises(ValueError, match=rf"out:=.*{OUT} exists; .*overwrite:=true"):
        resolve("play_motion", arguments)
    assert contents(tmp_path) == earlier


def options_classes():
    """Yield every dataclass of options in the verbs and benchmarks."""
    for package in (invdyn_ros.cli, invdyn_ros.benchmarks):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            yield from (
                kind
                for kind in vars(module).values()
                if is_dataclass(kind)
                and kind.__module__ == info.name
                and kind.__name__.endswith(("Options", "BenchmarkConfig"))
            )


def test_every_command_that_writes_keeps_what_exists():
    kinds = set(options_classes())
    writing = {kind for kind in kinds if {f.name for f in fields(kind)} & set(NAMES)}
    careless = {kind for kind in writing if not issubclass(kind, OutputOptions)}
    assert len(writing) > 35
    assert not careless
