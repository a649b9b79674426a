"""Network visualiser: histories, the page in a browser, and the film."""

import numpy as np
import pytest
import torch
from browser import check_quiet, open_page
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from invdyn_ros.evaluation.pages.network import (
    read_network_page,
    write_network_page,
)
from invdyn_ros.models import ModelMetadata, build
from invdyn_ros.models.dense_network import dense_network
from invdyn_ros.models.network_history import (
    MAX_BYTES,
    MAX_SNAPSHOTS,
    NetworkHistory,
    SnapshotList,
)
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
