"""RViz and Foxglove layouts show topics that nodes publish, and call services that they have."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from invdyn_ros.graph import topics

ROOT = Path(__file__).parents[1]
NODES = sorted((ROOT / "invdyn_ros" / "nodes").glob("*.py"))
# display -> type if not the same
RVIZ_TYPES = {"PoseWithCovariance": "PoseWithCovarianceStamped", "RobotModel": "String"}

PRIVATE_OF = dict.fromkeys(("managed_node", "command_publisher"), "inverse_dynamics")

IMAGE_METHODS = {"create_publisher": "create_image_publisher"}


def interfaces(method):
    """Return topic or service -> type of all calls of a method of the nodes, from their source."""
    kinds = {}
    for file in NODES:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
            if called.rpartition(".")[2] == method or called == IMAGE_METHODS.get(method):
                first = called == IMAGE_METHODS.get(method)  # its first argument is the node
                kind, name = (ast.unparse(a) for a in call.args[first : first + 2])
                private = re.fullmatch(r"'~/(.+)'", name)
                if private:
                    node = PRIVATE_OF.get(file.stem, file.stem)
                    kinds[f"/{node}/{private[1]}"] = kind
                elif name.startswith("block_topic("):
                    kinds[f"/{topics.block_topic(0)}"] = kind
                elif isinstance(topic := getattr(topics, name, None), str):
                    kinds[topic if topic.startswith("/") else f"/{topic}"] = kind
    return kinds


PUBLISHED, SERVICES = interfaces("create_publisher"), interfaces("create_service")


def rviz_topics():
    """Yield the display and the topic of each display."""
    layout = yaml.safe_load((ROOT / "config" / "view.rviz").read_text(encoding="utf-8"))
    for display in layout["Visualization Manager"]["Displays"]:
        for key in ("Topic", "Description Topic"):
            if key in display:
                yield display["Class"].split("/")[1], display[key]["Value"]


def foxglove_texts(value):
    """Yield all strings and keys of the layout that start like a topic."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from foxglove_texts(key)
            yield from foxglove_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from foxglove_texts(item)
    elif isinstance(value, str) and value.startswith("/"):
        yield re.match(r"[\w/]+", value)[0]


def test_rviz_shows_published_topics_of_the_right_type():
    displays = dict(reversed(pair) for pair in rviz_topics())
    assert len(displays) >= 6
    for topic, display in displays.items():
        assert PUBLISHED.get(topic) == RVIZ_TYPES.get(display, display), topic


@pytest.fixture(scope="module")
def foxglove():
    return json.loads((ROOT / "config" / "view.foxglove.json").read_text(encoding="utf-8"))


def test_foxglove_shows_published_topics_and_known_services(foxglove):
    names = set(foxglove_texts(foxglove))
    assert len(names) >= 8 and names <= PUBLISHED.keys() | SERVICES.keys(), names
    assert "/inverse_dynamics/stop" in names


def test_foxglove_places_every_panel_once(foxglove):
    def panels(node):
        return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])

    assert sorted(panels(foxglove["layout"])) == sorted(foxglove["configById"])
