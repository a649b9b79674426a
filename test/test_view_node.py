"""View node: what a running graph shows on the live window, and how commands get back to it."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import DESIRED, IMAGES, START, STATES, TICK, TIMEOUT, UR5, state
from sensor_msgs.msg import Image, JointState, PointCloud2, TimeReference
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from invdyn_ros.evaluation.live.access import KEY_PREFIX, SUBPROTOCOL
from invdyn_ros.evaluation.live.live_image import LENGTH
from invdyn_ros.graph.topics import COMMANDS, GRIPPER_COMMAND
from invdyn_ros.nodes.images import image_to_message
from invdyn_ros.nodes.messages import landmarks_to_cloud, to_stamp
from invdyn_ros.nodes.run_topics import OVERLAY_TOPICS, RUN_TOPICS
from invdyn_ros.nodes.view import ViewNode
from invdyn_ros.sources.bag_files import JOINT_STATE_MESSAGE, messages

NEVER = {f"/{topic}" for topic in (*COMMANDS.values(), GRIPPER_COMMAND, *OVERLAY_TOPICS.values())}
"""A subscriber of these changes how a graph runs."""


class Page:
    """An open page: reads states and images, and sends commands, while the probe publishes."""

    def __init__(self, probe, session, socket, publish):
        self.probe, self.session, self.socket, self.publish = probe, session, socket, publish
        self.receiving = None

    async def receive(self):
        """Return the next message, a dictionary; that of an image has its JPEG."""
        message = await self.run(self.socket.receive())
        await self.socket.send_str("shown")
        if message.type == aiohttp.WSMsgType.TEXT:
            return json.loads(message.data)
        (length,) = LENGTH.unpack_from(message.data)
        header, jpeg = message.data[4 : 4 + length], message.data[4 + length :]
        return json.loads(header) | {"jpeg": jpeg}

    async def receive_until(self, condition):
        """Return the first message with a property."""
        deadline = time.monotonic() + TIMEOUT
        while not condition(message := await self.receive()):
            assert time.monotonic() < deadline
        return message

    async def command(self, name):
        """Send a command and return its result."""
        response = await self.run(self.session.post(f"/command/{name}"))
        return await response.json()

    async def run(self, awaitable):
        """Await something while the probe publishes and serves."""
        task = asyncio.ensure_future(awaitable)
        while not task.done():
            self.publish()
            self.probe.executor.spin_once(timeout_sec=0)
            await asyncio.sleep(0.01)
        return task.result()


def publisher(probe):
    """Return a function that publishes one sample of each topic of a run."""
    kinds = [(STATES, JointState), (DESIRED, JointState), (IMAGES, Image)]
    kinds += [("/pose/landmarks", PointCloud2), ("/diagnostics", DiagnosticArray)]
    kinds += [("/timing", TimeReference)]
    publishers = [(probe.node.create_publisher(kind, topic, 10)) for topic, kind in kinds]
    image = np.full((60, 80, 3), 90, np.uint8)
    person = np.full((33, 6), 0.5)
    status = DiagnosticStatus(name="inverse_dynamics", message="target is stale")
    status.level = DiagnosticStatus.WARN
    count = 0

    def publish():
        nonlocal count
        count += 1
        now = START + TICK * count
        header = Header(stamp=to_stamp(now))
        late = to_stamp(now + 25_000_000)
        for topic, message in zip(
            publishers,
            (
                state(now),
                state(now, UR5.home + 0.1),
                image_to_message(image, header.stamp, "camera"),
                landmarks_to_cloud(person, header),
                DiagnosticArray(header=header, status=[status]),
                TimeReference(header=header, time_ref=late, source="command"),
            ),
            strict=True,
        ):
            topic.publish(message)

    return publish


def serve(probe):
    """Offer the services of the controller; return the list of their calls."""
    calls = []

    def on_engage(request, response):
        calls.append(request.data)
        response.success, response.message = not request.data, "refused: the arm moves"
        return response

    def on_stop(_, response):
        calls.append("stop")
        response.success, response.message = True, "stopped"
        return response

    probe.node.create_service(SetBool, "/inverse_dynamics/engage", on_engage)
    probe.node.create_service(Trigger, "/inverse_dynamics/stop", on_stop)
    return calls


def subscribed(node):
    return {subscription.topic_name for subscription in node.subscriptions} - {"/parameter_events"}


def test_a_page_shows_a_run_and_its_commands_reach_the_controller(
    start_node, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    probe = start_node(ViewNode, arm="ur5", graph="teleop")
    node, calls, publish = probe.tested_node, serve(probe), publisher(probe)
    assert subscribed(node) == {"/diagnostics"}, "without a page nothing else is received"
    probe.wait_until(lambda: node.engage_client.service_is_ready())
    probe.wait_until(lambda: node.stop_client.service_is_ready())
    asyncio.run(use_page(probe, node, publish, calls))
    (recording,) = tmp_path.iterdir()
    recorded = list(messages(recording, STATES, JOINT_STATE_MESSAGE))
    assert len(recorded) > 5
    probe.wait_until(lambda: subscribed(node) == {"/diagnostics"})


async def use_page(probe, node, publish, calls):
    key = node.server.access.key
    headers = {"Authorization": f"Bearer {key}"}
    protocols = (SUBPROTOCOL, f"{KEY_PREFIX}{key}")
    base = f"http://127.0.0.1:{node.server.port}"
    async with (
        aiohttp.ClientSession(base, headers=headers) as session,
        session.ws_connect("/live", protocols=protocols) as socket,
    ):
        page = Page(probe, session, socket, publish)
        message = await page.receive_until(lambda m: m.get("latency") and m.get("clearances"))
        assert message["q"] == pytest.approx(UR5.home)
        assert (message["state"], message["reason"]) == ("holding", "target is stale")
        assert message["latency"]["p50"] == pytest.approx(25, abs=0.1)
        assert message["tool_speed"] == pytest.approx(0.0, abs=1e-6)
        message = await page.receive_until(lambda m: m.get("desired"))
        assert message["desired"] == pytest.approx(UR5.home + 0.1)
        image = await page.receive_until(lambda m: m.get("landmarks"))
        assert image["landmarks"] == [[0.5, 0.5, 0.5]] * 33 and image["jpeg"].startswith(b"\xff")
        assert subscribed(node) & NEVER == set()
        assert await page.command("engage") == {
            "success": False,
            "message": "refused: the arm moves",
        }
        assert (await page.command("disengage"))["success"]
        assert await page.command("stop") == {"success": True, "message": "stopped"}
        assert calls == [True, False, "stop"]
        assert (await page.command("record"))["success"]
        assert "recorded already" in (await page.command("record"))["message"]
        assert subscribed(node) >= {
            node.resolve_topic_name(topic) for topic in RUN_TOPICS["teleop"]
        }
        for _ in range(20):
            await page.receive()
        message = await page.receive_until(lambda m: m.get("recording"))
        assert message["recording"] in (await page.command("end_recording"))["message"]
        assert subscribed(node) & NEVER == set()
