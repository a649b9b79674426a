"""Environment of the nodes of a graph: domain, discovery, transport."""

import os
from pathlib import Path

import pytest
from graph_specs import make_checkpoint, resolve

from invdyn_ros.graph.discovery import RANGE, open_network_warning
from invdyn_ros.graph.transport import FASTDDS_PROFILES


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path, "ur5", "N m")


def test_every_node_gets_the_ros_domain(checkpoint):
    specs = resolve("teleop", {"domain": "7", "checkpoint": checkpoint})
    assert {spec.environment["ROS_DOMAIN_ID"] for spec in specs} == {"7"}
    specs = resolve("teleop", {"checkpoint": checkpoint})
    assert not any("ROS_DOMAIN_ID" in spec.environment for spec in specs)


def test_nodes_are_found_on_this_machine_only_unless_told_otherwise(checkpoint, monkeypatch):
    monkeypatch.delenv("ROS_LOCALHOST_ONLY", raising=False)

    def limit(shell, **arguments):
        monkeypatch.delenv(RANGE, raising=False)
        if shell:
            monkeypatch.setenv(RANGE, shell)
        spec = resolve("teleop", {"checkpoint": checkpoint, **arguments})[0]
        environment = {**os.environ, **spec.environment}
        return environment[RANGE], open_network_warning(environment) is not None

    assert limit(None) == ("LOCALHOST", False)
    assert limit("SUBNET") == ("SUBNET", True)
    assert limit("SUBNET", discovery="localhost") == ("LOCALHOST", False)
    assert limit(None, discovery="subnet") == ("SUBNET", True)
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Enforce")
    assert limit(None, discovery="subnet") == ("SUBNET", False)


def test_shipped_fastdds_profile_is_the_default(checkpoint, monkeypatch):
    monkeypatch.delenv(FASTDDS_PROFILES, raising=False)
    specs = {spec.name: spec for spec in resolve("teleop", {"checkpoint": checkpoint})}
    files = {name: Path(spec.environment[FASTDDS_PROFILES]) for name, spec in specs.items()}
    assert "<segment_size>16777216<" in files["camera"].read_text()
    for name in ("simulator", "pose"):
        assert "<segment_size>1048576<" in files[name].read_text(), "it sends no images"
    arguments = {"checkpoint": checkpoint, "composed": "true"}
    (composed,) = (spec for spec in resolve("teleop", arguments) if spec.composed)
    assert composed.environment[FASTDDS_PROFILES] == str(files["camera"]), "it has the camera"
    monkeypatch.setenv(FASTDDS_PROFILES, "mine.xml")
    assert FASTDDS_PROFILES not in resolve("teleop", {"checkpoint": checkpoint})[0].environment
