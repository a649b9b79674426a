"""Managed node of an arm: configuring it loads the model, activating it engages the arm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.lifecycle import LifecycleNodeMixin, TransitionCallbackReturn
from std_srvs.srv import SetBool, Trigger

from invdyn_ros.config import error_line
from invdyn_ros.graph.names import option_of_namespace
from invdyn_ros.nodes.runner import DiagnosticNode

NOT_CONFIGURED = "not configured"
STILL_MOVING = "the arm still moves; disengage it, and wait until it is at rest"


class ManagedNode(DiagnosticNode, LifecycleNodeMixin, ABC):  # type: ignore[misc]
    """Lifecycle node of an arm, whose activation is its clutch.

    The state follows the arm: a fault that stops it makes the node inactive. Publishers are plain
    ones: those of rclpy.lifecycle would check the state at every command.

    Attributes:
        is_configured: whether the state is inactive or active.
        is_active: whether the state is active.
        engage_remedy: how to engage the arm, in words.
    """

    _is_configuring = False
    _num_releases = 0

    def __init__(self, name: str) -> None:
        super().__init__(name)
        LifecycleNodeMixin.__init__(self)
        self.is_configured = self.is_active = False
        self._is_done = False  # whether the transition in progress only notes what has happened
        self._entities: set[Any] = set()  # publishers and the like that `configure` created
        service = next(s for s in self.services if s.srv_name.endswith("/change_state"))
        self._change_state = service.callback
        service.callback = self._on_change_state
        self.create_service(SetBool, "~/engage", self.on_engage)
        self.create_service(Trigger, "~/stop", self.on_stop)
        command = f"invdyn engage{option_of_namespace(self.get_namespace())}"
        self.engage_remedy = f"'{command}' or the service {self.resolve_service_name('~/engage')}"

    @abstractmethod
    def configure(self) -> None:
        """Load the model, and create publishers, subscriptions and timers.

        Raises:
            ValueError: a parameter has a wrong value.
        """

    @abstractmethod
    def release(self) -> None:
        """Free what `configure` loaded; publishers, subscriptions and timers are destroyed."""

    @abstractmethod
    def engage(self) -> str | None:
        """Let the arm move; return why it is refused, None if it is done."""

    def engage_note(self) -> str:
        """Return what to add to the answer when the arm was engaged."""
        return ""

    @abstractmethod
    def disengage(self) -> None:
        """Bring the arm to rest."""

    @abstractmethod
    def stop(self) -> None:
        """Bring the arm to rest, for another reason than that it is disengaged."""

    @property
    @abstractmethod
    def is_moving(self) -> bool:
        """Whether the arm is driven, or is on its way to rest."""

    def start(self, is_configured: bool) -> None:
        """Configure the node without waiting for a request, or say that it waits for one.

        Args:
            is_configured: whether to configure it.

        Raises:
            ValueError: a parameter has a wrong value.
        """
        if not is_configured:
            self.hold(NOT_CONFIGURED)
            return
        self._configure()
        with self._done():
            self.trigger_configure()

    def destroy_node(self) -> None:
        """Remove the node from the graph, in which its state machine would keep it."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def note_engaged(self, is_engaged: bool) -> None:
        """Bring the state in line with an arm that was engaged or stopped."""
        if self._is_done or not self.is_configured or is_engaged == self.is_active:
            return
        with self._done():
            (self.trigger_activate if is_engaged else self.trigger_deactivate)()

    def on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Engage (true) or disengage (false) the arm."""
        refusal: str | None = None if self.is_configured else NOT_CONFIGURED
        if refusal is None and request.data:
            refusal = self.engage()
        elif refusal is None:
            self.disengage()
        response.success = refusal is None
        engaged = "disengaged"
        if request.data and refusal is None:
            engaged = f"engaged from the measured joints{self.engage_note()}"
        response.message = engaged if refusal is None else f"refused: {refusal}"
        return response

    def on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Brake to rest, and publish no more commands until engaged again."""
        if self.is_configured:
            self.stop()
        response.success = True
        response.message = f"stopped; to resume: {self.engage_remedy}"
        return response

    def on_configure(self, _: Any) -> TransitionCallbackReturn:
        """Load the model."""
        return self._transition("configured", self._configure)

    def on_activate(self, _: Any) -> TransitionCallbackReturn:
        """Engage the arm; if that is refused, the transition fails."""
        result = self._transition("activated", self.engage)
        self.is_active = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_deactivate(self, _: Any) -> TransitionCallbackReturn:
        """Disengage the arm, which brakes along its verified plan while the node is inactive."""
        self.is_active = False
        return self._transition("deactivated", self.disengage)

    def on_cleanup(self, _: Any) -> TransitionCallbackReturn:
        """Free the model, once the arm is at rest."""
        return self._transition("cleaned up", self._release)

    def on_shutdown(self, _: Any) -> TransitionCallbackReturn:
        """Disengage the arm, for good: it brakes, and the node does nothing more."""
        is_configured, self.is_configured, self.is_active = self.is_configured, False, False
        return self._transition("shut down", self.disengage if is_configured else lambda: None)

    def _configure(self) -> None:
        before = self._all_entities()
        self._is_configuring = True
        try:
            self.configure()
        finally:
            self._is_configuring = False
            self._entities = self._all_entities() - before
        self.is_configured = True
        self.hold(None)

    def _release(self) -> str | None:
        """Destroy what `configure` created; return why it is refused, None if it is done."""
        if self.is_moving:
            return STILL_MOVING
        for entity in self._entities & set(self.timers):
            self.destroy_timer(entity)
        for entity in self._entities & set(self.subscriptions):
            self.destroy_subscription(entity)
        for entity in self._entities & set(self.publishers):
            self.destroy_publisher(entity)
        for entity in self._entities & set(self.clients):
            self.destroy_client(entity)
        self._num_releases += 1
        self.release()
        self.is_configured, self.missing_inputs = False, []
        self.set_fault(None)
        self.hold(NOT_CONFIGURED)
        return None

    def _store_exception(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Store its exception; skip a call that was queued when `release` freed what it needs."""
        call = super()._store_exception(callback)
        if not self._is_configuring:
            return call
        number = self._num_releases

        def call_until_release(*arguments: Any) -> Any:
            return call(*arguments) if self._num_releases == number else None

        return call_until_release

    def _all_entities(self) -> set[Any]:
        return {*self.publishers, *self.subscriptions, *self.timers, *self.clients}

    @contextmanager
    def _done(self) -> Iterator[None]:
        """Let transitions in this context only note what has happened."""
        self._is_done = True
        try:
            yield
        finally:
            self._is_done = False

    def _transition(
        self, name: str, act: Callable[[], str | None] | Callable[[], None]
    ) -> TransitionCallbackReturn:
        """Perform a transition; one that is refused fails, and its reason is logged.

        Args:
            name: what the node is after it.
            act: performs it, and returns why it is refused.
        """
        if self._is_done:
            return TransitionCallbackReturn.SUCCESS
        try:
            with self._done():
                refusal = act()
        except (ValueError, OSError, MemoryError) as error:
            refusal = error_line(error)
        except Exception as error:  # rclpy would drop it
            self.exception = self.exception or error
            return TransitionCallbackReturn.ERROR
        if refusal is None:
            return TransitionCallbackReturn.SUCCESS
        self.get_logger().error(f"not {name}: {refusal}")
        return TransitionCallbackReturn.FAILURE

    def _on_change_state(self, request: Any, response: Any) -> Any:
        """Answer a request; one that the state does not allow would end the node in rclpy."""
        try:
            return self._change_state(request, response)
        except RuntimeError:
            transition = request.transition.label or f"number {request.transition.id}"
            self.get_logger().error(f"no transition {transition} from the present state")
            response.success = False
            return response
