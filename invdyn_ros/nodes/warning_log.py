"""Log of warnings that counts repeated ones instead of repeating them."""

import re
import time
from collections import Counter
from collections.abc import Callable

REPEAT_PERIOD = 10.0  # [s] between two lines of a warning
MAX_KINDS = 50  # of warnings; further kinds share their lines
VALUE = re.compile(r"\[[^\]]*\]|'[^']*'|-?\d[\w.+-]*|-?\b(?:inf|nan)\b")


class WarningLog:
    """Logs a warning the first time, then at most every REPEAT_PERIOD with its count.

    Warnings that differ in their numbers, names in quotes or lists only are of one kind.
    """

    def __init__(
        self, log: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create an empty log.

        Args:
            log: writes a line.
            clock: monotonic time [s].
        """
        self.counts: Counter[str] = Counter()
        self._log, self._clock = log, clock
        self._line_times: dict[str, float] = {}

    def warn(self, text: str, once: bool = False) -> bool:
        """Count a warning; return whether it was logged.

        Args:
            text: the warning.
            once: whether its kind is logged the first time only.
        """
        kind = VALUE.sub("#", text)
        if kind not in self.counts and len(self.counts) >= MAX_KINDS:
            kind = "other"
        self.counts[kind] += 1
        now, last = self._clock(), self._line_times.get(kind)
        if last is not None and (once or now - last < REPEAT_PERIOD):
            return False
        self._line_times[kind] = now
        count = self.counts[kind]
        self._log(text if count == 1 else f"{text} ({count} times)")
        return True
