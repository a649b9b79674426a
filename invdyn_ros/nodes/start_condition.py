"""When an arm that starts engaged may move: once its joint states come steadily."""

import math

DISCOVERY_TIME = 1.2  # [s] after its start in which a node discovers those that run already
STEADY_TIME = 0.5  # [s] of joint states without a gap
MAX_GAP = 0.08  # [s]
RETRY_PERIOD = 0.1  # [s] after a refusal


class StartCondition:
    """Wait for steady joint states; a process that starts is slow, and so are its neighbours.

    Attributes:
        is_waiting: whether the arm is still to be engaged.
        refusal: why it was not engaged, None if it was not tried yet.
    """

    def __init__(self, is_waiting: bool, earliest: float = -math.inf) -> None:
        """Create a condition.

        Args:
            is_waiting: whether the arm is to be engaged.
            earliest: time before which it is not [s]: when other commanders have been discovered.
        """
        self.is_waiting, self._earliest = is_waiting, earliest
        self.refusal: str | None = None
        self._last_arrival = self._steady_since = self._last_try = -math.inf

    def is_met(self, clock: float) -> bool:
        """Return whether to engage now; call it at each joint state, at a time [s]."""
        if clock - self._last_arrival > MAX_GAP:
            self._steady_since = clock
        self._last_arrival = clock
        if not self.is_waiting or clock - self._last_try < RETRY_PERIOD:
            return False
        if clock < max(self._steady_since + STEADY_TIME, self._earliest):
            return False
        self._last_try = clock
        return True

    def end(self) -> None:
        """Wait no more."""
        self.is_waiting, self.refusal = False, None
