"""Web server of the live window: its page, a WebSocket with what it shows, and its commands.

The server has a thread of its own. A command waits for nothing but its answer, so that a stop gets
through while images are encoded, a page is slow, or no state arrives any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from aiohttp import WSMsgType, web

from invdyn_ros.evaluation.live.access import SECURITY_HEADERS, SUBPROTOCOL, Access, header_key
from invdyn_ros.evaluation.pages.page import render_page

HOST = "127.0.0.1"
COMMAND_TIMEOUT = 3.0  # [s] after which a command counts as not answered
MAX_UNCONFIRMED = 2  # messages on their way to a page; further ones are dropped, not queued
MAX_REQUEST_SIZE = 1024  # [bytes]
HEARTBEAT = 5.0  # [s] between checks whether a page is still there
START_TIMEOUT = 10.0  # [s]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CommandResult(NamedTuple):
    """Result of a command: whether it was carried out, and what happened in words."""

    success: bool
    message: str


Command = Callable[[], "Future[CommandResult]"]
"""Starts a command without waiting for it."""


class Client:
    """A page that is open: what it has not been sent yet, and how much it has not confirmed."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.image: bytes | None = None
        self.unconfirmed = 0
        self.changed = asyncio.Event()

    def take(self) -> str | bytes | None:
        """Return the next message, an image first; None if there is none to send now."""
        self.changed.clear()
        if self.unconfirmed >= MAX_UNCONFIRMED:
            return None
        if self.image is not None:
            message, self.image = self.image, None
            return message
        state, self.state = self.state, None
        return state


class LiveServer:
    """Server on the loopback interface.

    Attributes:
        access: who may come in.
        port: TCP port.
    """

    def __init__(
        self,
        pages: Mapping[str, Callable[[], str]],
        commands: Mapping[str, Command],
        port: int = 0,
    ) -> None:
        """Start the server.

        Args:
            pages: path -> function that returns the HTML, or raises ValueError if there is none.
            commands: name -> command.
            port: TCP port; 0 for any that is free.

        Raises:
            ValueError: the port is not free.
        """
        self.access = Access()
        self._pages, self._commands = dict(pages), dict(commands)
        self._clients: set[Client] = set()
        try:
            self._socket = socket.create_server((HOST, port))
        except OSError as error:
            raise ValueError(
                f"view_port is {port}: {error.strerror}; give another one, or 0 for any"
            ) from error
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve(started)), daemon=True
        )
        self._thread.start()
        started.wait(START_TIMEOUT)

    @property
    def address(self) -> str:
        """Address of the page, with the key."""
        return f"http://{HOST}:{self.port}/?key={self.access.key}"

    @property
    def is_watched(self) -> bool:
        """Whether a page is open; without one, nothing needs to be computed."""
        return bool(self._clients)

    @property
    def needs_image(self) -> bool:
        """Whether a page would show a new image at once."""
        return any(
            client.image is None and client.unconfirmed < MAX_UNCONFIRMED
            for client in tuple(self._clients)
        )

    def publish(self, state: Mapping[str, Any]) -> None:
        """Send a state to all pages; it replaces one that is still waiting."""
        text = json.dumps(state, allow_nan=False, separators=(",", ":"))
        self._loop.call_soon_threadsafe(self._set, "state", text)

    def publish_image(self, image: bytes) -> None:
        """Send an image of `live_image_message` to all pages; it replaces one that is waiting."""
        self._loop.call_soon_threadsafe(self._set, "image", image)

    def close(self) -> None:
        """Close all connections and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(START_TIMEOUT)

    def _set(self, slot: str, message: str | bytes) -> None:
        for client in self._clients:
            setattr(client, slot, message)
            client.changed.set()

    async def _serve(self, started: threading.Event) -> None:
        app = web.Application(middlewares=[self._check], client_max_size=MAX_REQUEST_SIZE)
        for path in self._pages:
            app.router.add_get(path, self._page)
        app.router.add_get("/live", self._live)
        app.router.add_post("/command/{name}", self._command)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        started.set()
        await self._end.wait()
        await runner.cleanup()

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse whoever may not come in, before anything else is done with the request."""
        is_page = request.method in ("GET", "HEAD") and request.path in self._pages
        # only a page takes its key from its address, which a browser shows and may remember
        key = request.query.get("key", "") if is_page else header_key(request.headers)
        refusal = self.access.refusal(request.headers, key)
        if refusal is not None:
            return self._refuse(refusal, is_page and not key)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(SECURITY_HEADERS)
            raise
        if not response.prepared:
            response.headers.update(SECURITY_HEADERS)
        return response

    def _refuse(self, refusal: str, may_know_key: bool) -> web.Response:
        """Return the refusal; a page that is loaded anew may know its key."""
        if may_know_key:
            html = render_page(
                "Live window", "live_entry.html", {"refusal": refusal}, scripts=["live_entry.js"]
            )
        else:
            html = f"403: {refusal}\n"
        kind = "text/html" if may_know_key else "text/plain"
        return web.Response(status=403, headers=SECURITY_HEADERS, text=html, content_type=kind)

    async def _page(self, request: web.Request) -> web.Response:
        page = self._pages[request.path]
        try:  # a page may take seconds, in which a stop must get through
            html = await asyncio.get_running_loop().run_in_executor(None, page)
        except (OSError, ValueError) as error:
            raise web.HTTPNotFound(text=f"404: {error}\n") from None
        return web.Response(text=html, content_type="text/html")

    async def _command(self, request: web.Request) -> web.Response:
        command = self._commands.get(request.match_info["name"])
        if command is None:
            raise web.HTTPNotFound
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(command()), COMMAND_TIMEOUT)
        except asyncio.TimeoutError:
            result = CommandResult(
                False, f"nobody answered within {COMMAND_TIMEOUT:g} s; use the emergency stop"
            )
        except Exception as error:  # whatever fails, the page must say so
            result = CommandResult(False, f"failed: {error}")
        return web.json_response(result._asdict())

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), heartbeat=HEARTBEAT, max_msg_size=MAX_REQUEST_SIZE
        )
        await ws.prepare(request)
        client = Client()
        self._clients.add(client)
        sender = asyncio.create_task(_send(ws, client))
        try:
            async for message in ws:  # each one confirms one that the page has drawn
                if message.type == WSMsgType.TEXT:
                    client.unconfirmed = max(client.unconfirmed - 1, 0)
                    client.changed.set()
        finally:
            self._clients.discard(client)
            sender.cancel()
        return ws


async def _send(ws: web.WebSocketResponse, client: Client) -> None:
    """Send the newest messages to a page, as fast as it confirms them."""
    with contextlib.suppress(ConnectionError):  # the page was closed
        while True:
            await client.changed.wait()
            while (message := client.take()) is not None:
                client.unconfirmed += 1
                if isinstance(message, bytes):
                    await ws.send_bytes(message)
                else:
                    await ws.send_str(message)
