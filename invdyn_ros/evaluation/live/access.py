"""Access control of the live window: who may look at the arm, and who may move it.

The page moves an arm, so being on this machine is not enough: another user of the machine can
reach a loopback port, and so can any web page that is open in a browser on it. Each request needs

- the key, which is printed where the graph was started;
- a `Host` that is this machine by address or by the name localhost: a foreign name that was
  rebound to 127.0.0.1 is another one. The port may differ, as it does behind SSH port forwarding;
- no `Origin`, or the one of this page: browsers send that of a foreign page.

There is no cookie: browsers send cookies to every port of a host, also to the ports of others.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping

LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
SUBPROTOCOL = "invdyn.live"  # of the WebSocket
KEY_PREFIX = "key."  # of the subprotocol that carries the key: a page cannot set other headers
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Access:
    """Check of the requests to a server.

    Attributes:
        key: the secret that lets a user in.
    """

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(24)

    def refusal(self, headers: Mapping[str, str], key: str) -> str | None:
        """Return why a request is refused, None if it is allowed.

        Args:
            headers: headers of the request; the names are in any case.
            key: the key that came with it; empty if there was none.
        """
        host, origin = headers.get("Host", ""), headers.get("Origin")
        if not LOOPBACK_HOST.fullmatch(host):
            return "the address must start with 127.0.0.1 or localhost"
        if origin is not None and origin.lower() != f"http://{host}".lower():
            return "the request comes from another page"
        if not hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self.key.encode()):
            return "the key is missing or wrong; open the address that was printed at the start"
        return None


def header_key(headers: Mapping[str, str]) -> str:
    """Return the key in the headers of a request, "" if there is none."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    offered = [part.strip() for part in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return next((p.removeprefix(KEY_PREFIX) for p in offered if p.startswith(KEY_PREFIX)), "")
