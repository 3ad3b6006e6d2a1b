"""A thread for each incoming call."""

from __future__ import annotations

import queue
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class ThreadPerCall(futures.ThreadPoolExecutor):
    """A thread for each call, so that streams of weights cannot keep messages waiting.

    The threads are daemons, unlike a pool's: a training script that fails must not hang at its exit on peers that
    are still sending. Their number is bounded by the server's ``maximum_concurrent_rpcs``.

    gRPC calls ``submit`` on its serving thread, and serves no more if that raises, as it would where the system has no
    more threads. So the thread of a call is started before, where gRPC looks for the handler and answers the call with
    an error if that fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting = 0
        """Threads that wait for a call: one at most. Only the serving thread counts them, and ``close`` after it."""

    def serving(self, handlers: grpc.GenericRpcHandler[Any, Any]) -> grpc.GenericRpcHandler[Any, Any]:
        """``handlers``, which start the thread of a call when they are asked for its handler."""
        return _Reserving(handlers, self.reserve)

    def reserve(self) -> None:
        """Start the thread of the next call, unless there is one.

        Raises:
            RuntimeError: the system has no more threads.
        """
        if not self._waiting:
            threading.Thread(target=self._run_one, name="swarm-call", daemon=True).start()
            self._waiting += 1

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        future: futures.Future[T] = futures.Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - a future takes whatever is raised
                future.set_exception(error)

        self.reserve()
        self._waiting -= 1
        self._jobs.put(run)
        return future

    def _run_one(self) -> None:
        self._jobs.get()()

    def close(self) -> None:
        """End the thread that waits for a call, if there is one; the server has stopped."""
        if self._waiting:
            self._waiting -= 1
            self._jobs.put(lambda: None)


class _Reserving(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    """Handlers of which each has a thread."""

    def __init__(self, handlers: grpc.GenericRpcHandler[Any, Any], reserve: Callable[[], None]) -> None:
        self._handlers, self._reserve = handlers, reserve

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        found = self._handlers.service(handler_call_details)
        if found is not None:
            self._reserve()
        return found
