"""Monitor of the driver of a real arm: whether it executes commands, and how fast."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from invdyn_ros.control.faults import CONTROLLER_INACTIVE, DRIVER_NOT_READY, Fault
from invdyn_ros.robots.driver import CommandInterface, Condition, DriverConfig

PAUSED = "driver is paused"
PAUSE_SPEED = 0.05  # of the full speed [-], below which an arm counts as paused
SPEED_RISE = 1.0  # [1/s] of the speed after it was reduced: an arm that lagged catches up
SCALING_TIMEOUT = 1.0  # [s] without a speed scaling, where it comes periodically
PERIODIC_GAP, PERIODIC_COUNT = 0.2, 5  # [s] between so many messages that come periodically
STATES_TIMEOUT = 3.5  # [s] without states of controllers, which come once a second
ACTIVE, UNLOADED = "active", "not loaded"
DEFAULT_MANAGER = "/controller_manager"  # of the commands to type


class DriverMonitor:
    """What the driver of one arm reports: its conditions, its controllers, its speed scaling.

    What nobody publishes is not watched: `unwatched` lists it. A fault means that the driver no
    longer executes commands, and stays until the arm is engaged again. A pause is none: whoever
    paused the arm resumes it.

    Attributes:
        driver: what is reported, and where.
        interface: the interface in use.
        manager: full name of the controller manager.
    """

    def __init__(
        self, driver: DriverConfig, interface: CommandInterface, manager: str = DEFAULT_MANAGER
    ) -> None:
        """Create a monitor that knows nothing yet.

        Args:
            driver: what is reported, and where.
            interface: the interface in use.
            manager: full name of the controller manager, for the commands to type.
        """
        self.driver, self.interface = driver, interface
        self.manager = manager
        self._values: dict[str, int] = {}  # by topic
        self._published: Collection[str] = ()
        self._scaling: float | None = None
        self._scaling_clock = -math.inf  # of the newest speed scaling [s]
        self._scaling_count = 0  # of speed scalings that came soon after the one before
        self._start_speed = 1.0  # at the newest speed scaling [-]
        self._states: Mapping[str, str] = {}
        self._states_until = -math.inf  # clock until which they are known [s]

    def set_published(self, topics: Collection[str]) -> None:
        """Set which topics of the driver have a publisher."""
        self._published = topics

    def add_value(self, condition: Condition, value: int) -> None:
        """Add the newest value of a condition."""
        self._values[condition.topic] = value

    def add_speed_scaling(self, value: float, clock: float) -> None:
        """Add a speed scaling, in the unit of the driver.

        Args:
            value: the speed scaling.
            clock: time of arrival [s] by any monotonic clock.

        Raises:
            ValueError: it is no speed.
        """
        source = self.driver.speed_scaling
        if source is None or not (math.isfinite(value) and value >= 0):
            raise ValueError(f"the speed scaling is {value}")
        scaling = min(value / source.full_speed, 1.0)
        self._start_speed = scaling if self._scaling is None else self.speed(clock)
        if clock - self._scaling_clock < PERIODIC_GAP:
            self._scaling_count += 1
        self._scaling, self._scaling_clock = scaling, clock

    def add_controllers(self, states: Mapping[str, str], clock: float = math.inf) -> None:
        """Add the states of all controllers, such as "active" or "inactive".

        Args:
            states: by the name of the controller.
            clock: time of arrival [s] if they are published periodically.
        """
        self._states, self._states_until = states, clock + STATES_TIMEOUT

    def speed(self, clock: float) -> float:
        """Return the fraction of the full speed at which motions may be planned [-].

        Args:
            clock: present time [s].
        """
        if self._scaling is None:
            return 1.0
        risen = self._start_speed + SPEED_RISE * max(clock - self._scaling_clock, 0.0)
        return max(min(self._scaling, risen), PAUSE_SPEED)

    def pause(self, clock: float) -> str | None:
        """Return why the driver executes no commands now, None if it does or that is not known.

        Args:
            clock: present time [s].
        """
        values = self._values
        conditions = [c for c in self.driver.conditions if c.topic in values]
        refused = [c for c in conditions if values[c.topic] not in c.accepted]
        if refused or self._state(clock) not in (None, ACTIVE):
            return str(self.fault(clock))
        if self._scaling is None or self._scaling >= PAUSE_SPEED:
            return None
        return f"{PAUSED}: its speed scaling is below {100 * PAUSE_SPEED:.0f}%"

    def fault(self, clock: float) -> Fault | None:
        """Return why the driver executes no commands any more, None if it does.

        Args:
            clock: present time [s].
        """
        for reason, problem in self._problems(clock):
            return Fault(reason, problem, 0.0, 0.0, "")
        return None

    def refusal(self, clock: float) -> str | None:
        """Return why the arm must not be engaged, with the remedy; None if it may.

        Args:
            clock: present time [s].
        """
        fault, pause = self.fault(clock), self.pause(clock)
        if fault is not None:
            return str(fault)
        if pause is not None:
            return f"{pause}; resume the program on the teach pendant, or raise its speed slider"
        for name, topic in self._sources():
            if topic in self._published and not self._is_known(topic):
                return f"{DRIVER_NOT_READY}: no message on {topic} yet, so its {name} is not known"
        return None

    def unwatched(self, clock: float) -> list[str]:
        """Return in words what nobody reports.

        Args:
            clock: present time [s].
        """
        names = [
            f"{name} ({topic})"
            for name, topic in self._sources()
            if topic not in self._published and not self._is_known(topic)
        ]
        if self.interface.controller and clock > self._states_until:
            names.append(f"controllers ({self.driver.controller_manager})")
        return names

    def _sources(self) -> Iterator[tuple[str, str]]:
        """Yield name and topic of everything that is watched."""
        for condition in self.driver.conditions:
            yield condition.name, condition.topic
        if self.driver.speed_scaling is not None:
            yield "speed scaling", self.driver.speed_scaling.topic

    def _is_known(self, topic: str) -> bool:
        source = self.driver.speed_scaling
        is_scaling = source is not None and topic == source.topic and self._scaling is not None
        return topic in self._values or is_scaling

    def _problems(self, clock: float) -> Iterator[tuple[str, str]]:
        """Yield reason and description of what is wrong, the most important first."""
        for condition in self.driver.conditions:
            value = self._values.get(condition.topic)
            if value is None:
                continue
            if value not in condition.accepted:
                remedy = f"; {condition.remedy}" if condition.remedy else ""
                yield DRIVER_NOT_READY, f"{condition.describe(value)}{remedy}"
            elif condition.topic not in self._published:
                lost = f"nobody publishes {condition.topic} any more"
                yield DRIVER_NOT_READY, f"{lost}; {self._start}"
        state = self._state(clock)
        if state not in (None, ACTIVE):
            yield CONTROLLER_INACTIVE, f"{self.interface.controller} is {state}; {self._switch()}"
        age, source = clock - self._scaling_clock, self.driver.speed_scaling
        is_lost = self._scaling_count >= PERIODIC_COUNT and age > SCALING_TIMEOUT
        if source is not None and is_lost:
            lost = f"no message on {source.topic} for {age:.1f} s"
            yield DRIVER_NOT_READY, f"{lost}; {self._start}"

    @property
    def _start(self) -> str:
        return f"start {self.driver.package}"

    def _state(self, clock: float) -> str | None:
        """Return the state of the controller in use, None if it is not known."""
        if not self.interface.controller or clock > self._states_until:
            return None
        return self._states.get(self.interface.controller, UNLOADED)

    def controllers_to_switch(self) -> tuple[list[str], list[str]]:
        """Return the controllers to activate and to deactivate; none if it is not loaded."""
        name = self.interface.controller
        active = [
            other
            for other in self.driver.other_controllers
            if other != name and self._states.get(other) == ACTIVE
        ]
        return [name] if name in self._states else [], active

    def _switch(self) -> str:
        """Return the command that activates the controller in use."""
        name, manager = self.interface.controller, self.manager
        option = "" if manager == DEFAULT_MANAGER else f" -c {manager}"
        activated, deactivated = self.controllers_to_switch()
        if not activated:
            return f"type: ros2 run controller_manager spawner {name}{option}"
        others = f" --deactivate {' '.join(deactivated)}" if deactivated else ""
        return f"type: ros2 control switch_controllers --activate {name}{others}{option}"
