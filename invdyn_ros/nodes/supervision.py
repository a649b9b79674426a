"""Supervision of one arm: whether it may be driven, and why it is stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from invdyn_ros.control.command import MODEL_DRIFT, Command
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.drift_monitor import DriftMonitor
from invdyn_ros.control.faults import GAPS, Fault
from invdyn_ros.nodes.command_publisher import CommandPublisher
from invdyn_ros.nodes.driver_topics import DriverTopics
from invdyn_ros.nodes.start_condition import StartCondition
from invdyn_ros.nodes.topic_monitor import CHECK_PERIOD, UNKNOWN, TopicMonitor
from invdyn_ros.robots.driver import DriverConfig

if TYPE_CHECKING:
    from invdyn_ros.nodes.managed_node import ManagedNode

BRAKING_TIME = 1.0  # [s] after which an arm that another node commands gets no more setpoints


class Supervision:
    """Engages an arm if its topics and its driver allow it, and stops it if they no longer do.

    Attributes:
        driver: topics of the driver, None without one.
        start_condition: when an arm that starts engaged, or resumes by itself, may move.
    """

    def __init__(
        self,
        node: ManagedNode,
        controller: ArmController,
        topics: TopicMonitor,
        publisher: CommandPublisher,
        lockstep: bool,
        resumes: bool,
    ) -> None:
        """Supervise a disengaged arm.

        Args:
            node: shows holds and faults.
            controller: controller of the arm.
            topics: finds nodes that must not be there, or are missing.
            publisher: publishes the commands.
            lockstep: whether a simulator waits for each command.
            resumes: whether to engage again after a gap of joint states or a late command.
        """
        self.node, self.controller, self.topics = node, controller, topics
        self.publisher = publisher
        self.driver: DriverTopics | None = None
        self.start_condition = StartCondition(False)
        self._lockstep, self._resumes = lockstep, resumes
        self._last_check = -math.inf  # [s] of the topics
        self._shown_fault: Fault | None = None
        self._drift_names: set[str] = set()
        self._silent_after = math.inf  # [s] from when on the arm is left to another commander

    def watch(self, driver: DriverConfig, joint_names: Sequence[str]) -> None:
        """Watch the driver of the arm, too.

        Args:
            driver: description of the driver.
            joint_names: names of the joints in messages.

        Raises:
            ValueError: a message of the driver lacks a field.
        """
        self.driver = DriverTopics(self.node, driver, self.controller, joint_names, self.latch)

    @property
    def is_silent(self) -> bool:
        """Whether the arm is left to another commander."""
        return time.monotonic() > self._silent_after

    def on_joint_state(self, stamp: int, clock: float) -> None:
        """Note a joint state, and engage the arm if that is due.

        Args:
            stamp: its stamp [ns].
            clock: time of arrival [s].
        """
        self.topics.stamps.add(stamp)
        if self.driver is not None:
            self.driver.add_stamp(stamp)
        start = self.start_condition
        if start.is_met(clock) or (self._lockstep and start.is_waiting):
            start.refusal = self.engage()

    def engage(self) -> str | None:
        """Engage the controller; return why it is refused, None if it is done."""
        refusal = None if self._lockstep else self.topics.refusal()
        if self.driver is not None:
            refusal = refusal or self.driver.refusal()
        refusal = refusal or self.controller.engage(True)
        if refusal is None:
            self.start_condition.end()
            self._silent_after = math.inf
            self.publisher.reset()
            self.node.note_engaged(True)
        return refusal

    def check(self, clock: float) -> None:
        """Check the other nodes now and then: call it often, with the present time [s].

        The arm holds while several nodes publish targets, and stops if another one may command it.
        """
        if clock - self._last_check < CHECK_PERIOD:
            return
        self._last_check = clock
        self.node.note_engaged(self.controller.engaged)
        self.controller.planner.refusal = self.topics.targets_problem()
        if self._shown_fault is not None:
            self._show_fault(self._shown_fault)
        values = self.node.diagnostic_values
        values["speed scale"] = f"{self.controller.planner.speed_scale:.2f}"
        if (delay := self.controller.loop_delay) is not None:
            values["loop delay"] = f"{delay:.3f} s"
        if self.controller.actions.drift is not None:
            self._show_drift(self.controller.actions.drift)
        if self.driver is not None:
            self.driver.find_publishers()
            self.driver.act()
        if not self.controller.engaged:
            return
        fault = self.topics.commander()
        if fault is not None:
            self._silent_after = clock + BRAKING_TIME
        elif not self._lockstep:
            fault = self.topics.source() or self.topics.listener()
        if fault is not None:
            self.latch(fault)

    def _show_drift(self, drift: DriftMonitor) -> None:
        """Show in what the arm differs from its model; the log has only what is new."""
        self.node.diagnostic_values["model drift"] = "; ".join(map(str, drift.drifts)) or "none"
        names = {difference.name for difference in drift.drifts}
        if names != self._drift_names:
            self._drift_names = names
            text = "; ".join(map(str, drift.drifts))
            self.node.set_notice(f"{MODEL_DRIFT}: {text}" if text else None)

    def latch(self, fault: Fault) -> None:
        """Stop until engaged again because of a fault that the joint states do not show."""
        self.controller.latch(fault)
        self._show_fault(fault)

    def show(self, command: Command) -> None:
        """Show why the arm holds or was stopped, as the newest command says."""
        fault = self.controller.fault
        if command.fault is None or fault is None:
            self.node.set_fault(None)
            self._shown_fault = None
            self.node.hold(self.start_condition.refusal or command.reason)
        elif self._resumes and fault.reason in GAPS:
            if fault is not self._shown_fault:
                self._shown_fault, self.start_condition = fault, StartCondition(True)
            self.node.hold(fault.reason)
        else:
            self._show_fault(fault)

    def _show_fault(self, fault: Fault) -> None:
        """Log a fault once, and publish it as an error until the arm is engaged again."""
        if fault is self._shown_fault and UNKNOWN not in str(self.node.fault):
            return
        self.node.note_engaged(False)
        self._shown_fault = fault
        text = self.topics.describe(fault)
        self.node.set_fault(
            f"{text}; after removing the cause: {self.node.engage_remedy}", fault.reason
        )
