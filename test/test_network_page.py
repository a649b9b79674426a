"""Network visualiser: histories, the page in a browser, and the film."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import check_accessible, check_quiet, needs_chromium, open_page
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from invdyn_ros.benchmarks.network_page import (
    NetworkPageBenchmarkConfig,
    measure_network_page,
)
from invdyn_ros.cli import run_verb
from invdyn_ros.evaluation.pages.network import read_network_page, write_network_page
from invdyn_ros.evaluation.plots.network_video import network_frames, write_network_video
from invdyn_ros.models.dense_network import dense_network
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.network_history import (
    MAX_BYTES,
    MAX_SNAPSHOTS,
    NetworkHistory,
    SnapshotList,
    sample_error,
)
from invdyn_ros.models.pruning import magnitude_mask, prune
from invdyn_ros.models.registry import build
from invdyn_ros.training.network_recorder import checkpoint_history
from invdyn_ros.training.xor import XorConfig, correct_predictions, train_xor

JOINTS = ("shoulder_pan_joint", "elbow_joint")


def untrained(family, unit="N m", **config):
    torch.manual_seed(0)
    model = build(ModelMetadata(family, "arm", JOINTS, unit, 125.0, 0.0, "", config)).eval()
    for name, value in model.named_buffers():
        value.copy_(torch.rand_like(value) + (0.5 if "std" in name else 0.0))
    for name, value in model.named_parameters():
        if "head" in name:
            torch.nn.init.normal_(value)
    return model


@pytest.fixture(scope="module")
def xor():
    return train_xor(XorConfig(epochs=6000))


@pytest.fixture(scope="module")
def page(xor, tmp_path_factory):
    return write_network_page(tmp_path_factory.mktemp("page") / "xor.html", [xor])


def set_range(browser, name, value):
    """Move a slider as a user does, with its events, and wait for the next drawing."""
    browser.execute_async_script(
        "const [id, value, done] = arguments, slider = document.getElementById(id);"
        "slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true}));"
        "requestAnimationFrame(() => requestAnimationFrame(() => done()))",
        name,
        str(value),
    )


def settle(browser):
    """Wait until everything is drawn and the address has the state."""
    browser.execute_async_script("setTimeout(arguments[0], 250)")
    browser.execute_script("networkPage.address.now()")


def value_of(browser, expression):
    return browser.execute_script(f"return {expression}")


def pixels(browser, canvas="network-0"):
    script = "return document.getElementById(arguments[0]).toDataURL()"
    return browser.execute_script(script, canvas)


# Histories


@pytest.mark.parametrize("epochs", [1, 7, 199, 200, 5000])
def test_history_keeps_first_and_last_and_is_bounded(epochs):
    layers = dense_network(untrained("mlp", width=2, depth=1)).layers
    snapshots = SnapshotList(layers)
    snapshots.limit = 40
    for epoch in range(epochs + 1):
        layers[0].bias.data.fill_(epoch)
        snapshots.record(epoch)
    kept = snapshots.up_to(epochs)
    numbers = [s.epoch for s in kept]
    assert numbers[0] == 0 and numbers[-1] == epochs and len(kept) <= 40
    assert numbers == sorted(set(numbers))
    gaps = np.diff(np.sqrt(numbers))
    assert len(numbers) == epochs + 1 or (gaps[1:-1] < 4 * np.sqrt(epochs) / 40).all()
    for snapshot in (kept[0], kept[-1]):
        history = NetworkHistory("", (), (), (), snapshots.shapes, (snapshot,), (), None)
        assert history.network(0).layers[0].bias[0] == snapshot.epoch


def test_snapshots_of_large_networks_are_small():
    layers = dense_network(untrained("enhanced", width=512, depth=4)).layers
    snapshots = SnapshotList(layers)
    for epoch in range(3):
        snapshots.record(epoch)
    first, middle, _ = snapshots.snapshots
    assert first.exact and not middle.exact and 3 * len(middle.content) < len(first.content)
    total = (snapshots.limit - 2) * len(middle.content) + 2 * len(first.content)
    assert 10 < snapshots.limit < MAX_SNAPSHOTS and total <= MAX_BYTES
    history = NetworkHistory("", (), (), (), snapshots.shapes, (first, middle), (), None)
    for exact, rounded in zip(history.network(0).layers, history.network(1).layers, strict=True):
        largest = exact.weight.abs().amax(1, keepdim=True)
        assert ((exact.weight - rounded.weight).abs() <= 0.51 * largest / 127).all()
        assert torch.equal(exact.bias, rounded.bias)


FAMILIES = {
    "mlp": {"width": 8},
    "mlp, rad": {"width": 8, "depth": 3, "activation": "gelu"},
    "enhanced": {"width": 50, "depth": 2},
    "enhanced, frames": {"width": 8, "depth": 1, "n_obs_steps": 3, "angles": False},
    "ensemble": {"num_members": 2, "member_config": {"activation": "relu", "width": 6}},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_in_page_equal_those_of_the_model(browser, name, tmp_path):
    family, _, kind = name.partition(", ")
    model = untrained(family, "rad" if kind == "rad" else "N m", **FAMILIES[name])
    history = checkpoint_history([model, model])
    frames = 3 if kind == "frames" else 1
    motion = torch.randn(5, frames, 6)
    time = (torch.arange(frames) / 125.0).expand(5, -1)
    member = model.members[0] if family == "ensemble" else model
    expected = member.predict(motion, time).mean[:, -1].numpy()
    inputs = np.zeros((5, len(history.inputs)))
    inputs[:, : 6 * frames] = motion.flatten(1)
    open_page(browser, write_network_page(tmp_path / "page.html", [history]))
    script = (
        "setNetworkInput(arguments[0]); networkPage.draw(true);"
        "return networkPage.views[0].prediction"
    )
    predictions = np.array([browser.execute_script(script, row.tolist()) for row in inputs])
    np.testing.assert_allclose(predictions, expected, rtol=1e-5, atol=1e-5)
    check_quiet(browser)


def test_families_that_are_no_stack_of_layers_are_refused():
    with pytest.raises(ValueError, match="family gru is not a plain stack"):
        dense_network(untrained("gru"))


def test_histories_are_read_back_from_a_page(xor, page, tmp_path):
    (read,) = read_network_page(page)
    assert read.snapshots == xor.snapshots and read.shapes == xor.shapes
    assert read.inputs == xor.inputs and read.features == xor.features
    other = tmp_path / "other.html"
    other.write_text("<p>no network</p>")
    with pytest.raises(ValueError, match="not a readable page of a network"):
        read_network_page(other)


# The page


def test_xor_is_learned_and_its_answers_are_in_the_page(browser, xor, page):
    assert correct_predictions(xor) == 4 and page.stat().st_size < 5e6
    open_page(browser, page)
    for case, expected in enumerate((0, 1, 1, 0)):
        Select(browser.find_element(By.ID, "sample")).select_by_value(str(case))
        settle(browser)
        assert abs(value_of(browser, "networkPage.views[0].prediction[0]") - expected) < 0.2
        assert browser.find_element(By.ID, "predictions").text.split()[-1] == str(expected)
    check_quiet(browser)


@pytest.mark.slow
def test_every_control_of_the_page_acts_and_stands_in_the_address(browser, page, tmp_path):
    open_page(browser, page, fragment="#time=100")
    find = lambda name: browser.find_element(By.ID, name)  # noqa: E731
    state = lambda key: value_of(browser, f"networkPage.state.{key}")  # noqa: E731
    first = pixels(browser)
    find("forward").click(), find("forward").click(), find("back").click()
    assert state("time") == 101
    Select(find("speed")).select_by_value("0.25")
    find("play").click()
    settle(browser)
    assert find("play").get_attribute("aria-pressed") == "true" and find("play").text == "Pause"
    find("play").click()
    assert 101 < state("time") < 199
    set_range(browser, "time", 150.25)
    settle(browser)
    assert pixels(browser) != first and "between two snapshots" in find("runs").text
    set_range(browser, "input-0", 0.75)
    assert state("inputs[0]") == 0.75 and "0.75" in find("inputs").text
    find("reset").click()
    assert state("inputs") == [0, 0]
    set_range(browser, "input-1", 0.5)
    Select(find("layer")).select_by_value("1")
    find("neuron").send_keys(Keys.BACKSPACE, "3")
    Select(find("x")).select_by_value("1")
    Select(find("y")).select_by_value("-1")
    find("responses").click()
    settle(browser)
    curve = pixels(browser, "response-0")
    Select(find("y")).select_by_value("0")
    settle(browser)
    assert pixels(browser, "response-0") != curve
    assert find("neurons").text.splitlines()[1].startswith("tanh(")
    set_range(browser, "prune", 0.5)
    settle(browser)
    address, drawn = browser.current_url, pixels(browser)
    values = value_of(browser, "networkPage.state")
    assert values["neuron"] == 2 and values["layer"] == 1 and values["responses"] is False
    assert values["inputs"] == [0, 0.5] and values["prune"] == 0.5 and values["speed"] == 0.25
    open_page(browser, address)
    settle(browser)
    assert value_of(browser, "networkPage.state") == values
    assert pixels(browser) == drawn
    check_quiet(browser)


def test_neurons_are_chosen_by_pointer_and_keyboard(browser, page):
    open_page(browser, page)
    browser.execute_script(
        "const place = networkPage.views[0].drawing.columns[2].place(4);"
        "const canvas = document.getElementById('network-0');"
        "const box = canvas.getBoundingClientRect();"
        "canvas.dispatchEvent(new MouseEvent('click', "
        "{clientX: box.left + place[0], clientY: box.top + place[1]}))"
    )
    chosen = "[networkPage.state.layer, networkPage.state.neuron]"
    assert value_of(browser, chosen) == [2, 4]
    canvas = browser.find_element(By.ID, "network-0")
    for key, expected in (("\ue015", [2, 5]), ("\ue012", [1, 5]), ("\ue013", [1, 4])):
        canvas.send_keys(key)
        assert value_of(browser, chosen) == expected


def test_pruning_in_the_page_equals_that_of_the_package(browser, xor, page):
    open_page(browser, page)
    for sparsity in (0.25, 0.6):
        set_range(browser, "prune", sparsity)
        network = prune(xor.network(-1), magnitude_mask(xor.network(-1), sparsity))
        weights = value_of(browser, "networkPage.views[0].layers.map(l => Array.from(l.weight))")
        for mine, layer in zip(weights, network.layers, strict=True):
            np.testing.assert_array_equal(np.float32(mine), layer.weight.flatten().numpy())
        pruned = float(value_of(browser, "document.getElementById('prune-error').dataset.errors"))
        assert pruned == pytest.approx(sample_error(network, xor.samples), rel=1e-4)


def test_downloaded_weights_are_those_of_the_network(browser, xor, page, tmp_path):
    from safetensors.torch import load

    open_page(browser, page)
    download = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", download)
    for button in browser.find_elements(By.CLASS_NAME, "download"):
        button.click()
    files = [tmp_path / f"Exclusive_or.{suffix}" for suffix in ("json", "safetensors")]
    for _ in range(100):
        if all(file.is_file() for file in files):
            break
        settle(browser)
    tensors = load(files[1].read_bytes())
    described = json.loads(files[0].read_text())
    for k, layer in enumerate(xor.network(-1).layers):
        assert torch.equal(tensors[f"{k}.weight"], layer.weight)
        assert torch.equal(tensors[f"{k}.bias"], layer.bias)
        assert described["tensors"][f"{k}.weight"]["values"] == layer.weight.flatten().tolist()
        assert described["layers"][k]["activation"] == layer.activation


def test_two_runs_are_shown_at_the_same_epoch(browser, xor, page, tmp_path):
    other = train_xor(XorConfig(widths=(3,), epochs=900, seed=1))
    small = write_network_page(tmp_path / "small.html", [other])
    both = tmp_path / "both.html"
    assert run_verb("visualize", f"network --compare {small} {page} --out {both}".split()) == 0
    open_page(browser, both)
    assert value_of(browser, "networkPage.views.map(v => v.run.title)") == [
        "Exclusive or (small)",
        "Exclusive or (xor)",
    ]
    set_range(browser, "time", 50)
    epoch = value_of(browser, "networkPage.runs[1].epochs[50]")
    pruned = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#runs h2")]
    assert all(f"epoch {epoch}" in text for text in pruned) and 0 < epoch < 900
    set_range(browser, "input-0", 1)
    predictions = value_of(browser, "networkPage.views.map(v => v.prediction[0])")
    assert all(0 < p < 1 for p in predictions) and predictions[0] != predictions[1]
    assert len(browser.find_elements(By.CLASS_NAME, "download")) == 4
    check_quiet(browser)


@pytest.mark.parametrize("width", [1280, 400])
def test_page_is_accessible_and_stable(browser, page, width):
    open_page(browser, page, width)
    settle(browser)
    check_accessible(browser)
    shot = browser.get_screenshot_as_png()
    settle(browser)
    assert browser.get_screenshot_as_png() == shot
    colors = "new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height)"
    script = f"const c = document.getElementById('network-0'); return {colors}.data.buffer)).size"
    assert browser.execute_script(script) > 100
    check_quiet(browser)


@pytest.mark.slow
def test_large_network_is_drawn_between_its_snapshots(browser, tmp_path):
    model = untrained("mlp", width=512, depth=4)
    layers = dense_network(model).layers
    snapshots = SnapshotList(layers)
    for epoch in range(6):
        layers[1].weight.data.mul_(1.1)
        snapshots.record(epoch)
    history = replace(checkpoint_history([model]), snapshots=snapshots.up_to(6))
    open_page(browser, write_network_page(tmp_path / "large.html", [history]))
    weight = "networkPage.views[0].layers[1].weight[0]"
    set_range(browser, "time", 3)
    earlier = value_of(browser, weight)
    set_range(browser, "time", 4)
    later = value_of(browser, weight)
    set_range(browser, "time", 3.5)
    assert earlier != later
    assert value_of(browser, weight) == pytest.approx((earlier + later) / 2)
    assert value_of(browser, "networkPage.views[0].drawing.columns[1].grid") is True
    check_quiet(browser)


# Films


def test_film_shows_the_training(xor, tmp_path):
    frames = list(network_frames([xor, xor], 3))
    assert frames[0].shape == (720, 1280, 3) and (frames[0] != frames[1]).mean() > 0.01
    film = write_network_video(tmp_path / "xor.gif", [xor], 8)
    with Image.open(film) as gif:
        assert gif.n_frames == 5


@pytest.mark.slow
def test_benchmark_measures_page_and_film():
    config = NetworkPageBenchmarkConfig(width=8, depth=1, epochs=1, openings=1, moves=3)
    with needs_chromium():
        rows = measure_network_page(config)["rows"]
    assert 0 < rows["open"]["p50"] <= rows["open"]["max"]
    assert rows["move of the time slider"]["p50"] > 0 and rows["film"]["frames_per_s"] > 0
    assert 0.01 < rows["file"]["megabytes"] < 1
