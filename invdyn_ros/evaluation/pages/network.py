"""Page of the history of one or two networks, and reading histories back from such a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invdyn_ros.config import read_text
from invdyn_ros.data.files import reading
from invdyn_ros.evaluation.pages.page import render_page, write_page
from invdyn_ros.models.dense_network import DenseNetwork, Feature, NetworkInput, NetworkOutput
from invdyn_ros.models.network_history import (
    LayerShape,
    Loss,
    NetworkHistory,
    Samples,
    Snapshot,
    sample_error,
)
from invdyn_ros.models.pruning import magnitude_mask, prune

SCRIPTS = (
    "chart.js",
    "line_chart.js",
    "network_model.js",
    "network_view.js",
    "network_response.js",
    "network_state.js",
    "network_panels.js",
    "network_page.js",
)
LIVE_SCRIPTS = ("live_connection.js", "network_live.js")
SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
MAX_RUNS = 2
DATA_START = "const pageData = "
SAMPLE_DIGITS, LOSS_DIGITS = 7, 5  # significant digits


def write_network_page(
    path: Path,
    histories: Sequence[NetworkHistory],
    tickets: Sequence[dict[str, Any]] = (),
    title: str | None = None,
) -> Path:
    """Write the page of one or two histories and return its path.

    Args:
        path: HTML file.
        histories: of the networks.
        tickets: curves of error [%] against sparsity [%], as `lineChart` takes them.
        title: of the page; None: those of the histories.
    """
    return write_page(path, network_page(histories, tickets, title))


def network_page(
    histories: Sequence[NetworkHistory],
    tickets: Sequence[dict[str, Any]] = (),
    title: str | None = None,
    connect: bool = False,
) -> str:
    """Return the HTML of the page of one or two histories.

    Args:
        histories: of the networks.
        tickets: curves of error [%] against sparsity [%], as `lineChart` takes them.
        title: of the page; None: those of the histories.
        connect: whether the live window serves the page, and its inputs are those of the arm.

    Raises:
        ValueError: no history or more than two.
    """
    if not 1 <= len(histories) <= MAX_RUNS:
        raise ValueError(f"{len(histories)} histories; a page shows one or two")
    data = {"runs": [history_to_json(h) for h in histories], "tickets": list(tickets)}
    title = title or " and ".join(dict.fromkeys(h.title for h in histories))
    scripts = (*SCRIPTS, *LIVE_SCRIPTS) if connect else SCRIPTS
    return render_page(title, "network.html", {}, data=data, scripts=scripts, connect=connect)


def history_to_json(history: NetworkHistory) -> dict[str, Any]:
    """Return a history as the page's scripts read it."""
    samples = history.samples
    losses = np.array(history.losses, float).reshape(-1, 3)
    return {
        "title": history.title,
        "finished": history.finished,
        "best_epoch": history.best_epoch,
        "inputs": [i._asdict() for i in history.inputs],
        "features": [f._asdict() for f in history.features],
        "outputs": [o._asdict() for o in history.outputs],
        "layers": [shape._asdict() for shape in history.shapes],
        "snapshots": [
            s._asdict() | {"content": base64.b64encode(s.content).decode()}
            for s in history.snapshots
        ],
        "losses": {
            "epoch": [int(k) for k in losses[:, 0]],
            "train": _rounded(losses[:, 1], LOSS_DIGITS),
            "val": _rounded(losses[:, 2], LOSS_DIGITS),
        },
        "samples": {
            "inputs": _rounded(samples.inputs, SAMPLE_DIGITS),
            "targets": _rounded(samples.targets, SAMPLE_DIGITS),
            "variance": samples.targets.var(0).tolist(),
            "source": samples.source,
        },
        "pruning": {
            "sparsity": [100 * s for s in SPARSITIES],
            "error": _rounded(np.array(pruned_errors(history.network(-1), samples)), LOSS_DIGITS),
        },
    }


def history_from_json(values: dict[str, Any]) -> NetworkHistory:
    """Return the history that `history_to_json` returned."""
    losses, samples = values["losses"], values["samples"]
    rows = zip(losses["epoch"], losses["train"], losses["val"], strict=True)
    return NetworkHistory(
        values["title"],
        tuple(NetworkInput(**i) for i in values["inputs"]),
        tuple(Feature(**f) for f in values["features"]),
        tuple(NetworkOutput(**o) for o in values["outputs"]),
        tuple(LayerShape(**shape) for shape in values["layers"]),
        tuple(
            Snapshot(s["epoch"], s["exact"], base64.b64decode(s["content"], validate=True))
            for s in values["snapshots"]
        ),
        tuple(Loss(*row) for row in rows),
        Samples(np.array(samples["inputs"]), np.array(samples["targets"]), samples["source"]),
        values["finished"],
        values["best_epoch"],
    )


def read_network_page(path: Path) -> list[NetworkHistory]:
    """Read the histories in a page that `write_network_page` wrote.

    Raises:
        ValueError: no such page.
    """
    remedy = "give a page that 'invdyn visualize network' or 'invdyn train --watch' wrote"
    with reading(path, "page of a network", remedy):
        text = read_text(path)
        start = text.index(DATA_START) + len(DATA_START)
        content, _ = json.JSONDecoder().raw_decode(text, start)
        histories = [history_from_json(run) for run in content["runs"]]
        for history in histories:
            for k in (0, -1):
                history.network(k)
    return histories


def pruned_errors(network: DenseNetwork, samples: Samples) -> list[float]:
    """Return the error [% of the targets' variance] at each of SPARSITIES."""
    return [
        100 * sample_error(prune(network, magnitude_mask(network, s)), samples) for s in SPARSITIES
    ]


def _rounded(values: np.ndarray, digits: int) -> list[Any]:
    """Return nested lists of numbers with some significant digits."""
    if values.ndim > 1:
        return [_rounded(row, digits) for row in values]
    return [float(f"{value:.{digits}g}") for value in values]
