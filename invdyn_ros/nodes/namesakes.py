"""End of a node that started although another one had its name."""

from __future__ import annotations

DISCOVERY_TIME = 3.0  # [s] after the start, in which a node discovers those that run already
LEASE_DURATION = 21.0  # [s] after which DDS forgets a node that was killed; its default is 20


class NamesakeMonitor:
    """Tells whether a node has to end, because its name was taken when it started.

    A node that was killed seems to run until its lease ends, so a new one waits for that long. A
    node that had its name alone goes on.
    """

    def __init__(self, clock: float) -> None:
        """Start with a node, at a time [s]."""
        self._start = clock
        self._since: float | None = None  # [s] when another node of the name was discovered

    def must_end(self, is_alone: bool, clock: float) -> bool:
        """Return whether to end the node now.

        Args:
            is_alone: whether no other node has the name.
            clock: time [s].
        """
        if is_alone:
            self._since = None
        elif self._since is None and clock - self._start < DISCOVERY_TIME:
            self._since = clock
        return self._since is not None and clock - self._since > LEASE_DURATION
