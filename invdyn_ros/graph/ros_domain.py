"""Reservation of a ROS domain that no other process on this machine uses."""

from __future__ import annotations

import os
import socket
from functools import cache

DOMAINS = range(1, 101)  # above 101, DDS ports overlap the ephemeral ports
DISCOVERY = (0, *range(10, 50, 2))  # UDP port offsets: multicast, then unicast by participant


@cache
def own_domain() -> int:
    """Return a free domain that is reserved for this process until it ends."""
    domain, lock = claim(os.getpid())
    _LOCKS.append(lock)
    return domain


_LOCKS: list[socket.socket] = []  # a socket that is collected is closed


def first_port(domain: int) -> int:
    """Return the first of the 250 ports of a domain."""
    return 7400 + 250 * domain


def claim(first: int) -> tuple[int, socket.socket]:
    """Return a free domain and a socket that reserves it until closed.

    The UDP ports of the domain are free, so no process uses DDS in it. Its first TCP port, which
    DDS does not use, is bound as a lock against other processes that claim a domain.

    Args:
        first: index in DOMAINS at which the search starts.

    Raises:
        RuntimeError: no domain is free.
    """
    for k in range(len(DOMAINS)):
        domain = DOMAINS[(first + k) % len(DOMAINS)]
        lock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            lock.bind(("", first_port(domain)))
            for offset in DISCOVERY:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("", first_port(domain) + offset))
        except OSError:
            lock.close()
        else:
            return domain, lock
    raise RuntimeError(f"no ROS domain is free, from {DOMAINS[0]} to {DOMAINS[-1]}")
