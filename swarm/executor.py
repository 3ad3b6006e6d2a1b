"""Threads, waits and time as one dependency: a simulation runs the same code without threads, in virtual time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from swarm.clock import Clock, MonotonicClock

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[], None]


class Condition(Protocol):
    """The part of ``threading.Condition`` that is used here. Its lock is reentrant."""

    def __enter__(self) -> bool:
        """Take the lock."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Release the lock."""
        ...

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until ``predicate`` holds, for at most ``timeout`` seconds; its last value."""
        ...

    def notify_all(self) -> None:
        """Make all waiters check their predicates again."""
        ...


class Task(Protocol):
    """Work that was started."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        ...

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for at most ``timeout`` seconds."""
        ...


class Executor(ABC):
    """Runs work concurrently, and makes conditions. It is a clock too."""

    @abstractmethod
    def now(self) -> float:
        """Monotonic seconds since an arbitrary start."""

    @abstractmethod
    def start(self, name: str, work: Work) -> Task:
        """Run ``work`` concurrently. It does not keep the process alive."""

    @abstractmethod
    def later(self, seconds: float, work: Work) -> None:
        """Run ``work``, which must return at once, after some seconds."""

    @abstractmethod
    def condition(self) -> Condition:
        """A condition to wait for."""

    def map(self, name: str, work: Callable[[Item], Result], items: Iterable[Item]) -> dict[Item, Result]:
        """``work`` on each of ``items`` at the same time, and what it returned; it must not raise."""
        results: dict[Item, Result] = {}

        def run(item: Item) -> None:
            results[item] = work(item)

        tasks = [self.start(name, lambda item=item: run(item)) for item in items]  # type: ignore[misc]
        for task in tasks:
            task.join()
        return results


class ThreadExecutor(Executor):
    """Threads of the operating system, and a clock; time-outs of waits use the system's clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or MonotonicClock()

    def now(self) -> float:
        return self._clock.now()

    def start(self, name: str, work: Work) -> Task:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def later(self, seconds: float, work: Work) -> None:
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        timer.start()

    def condition(self) -> Condition:
        return threading.Condition()


class Queue(Generic[Item]):
    """Items in the order in which they were put, from any thread. A signal handler may put one at any moment."""

    def __init__(self, executor: Executor) -> None:
        self._items: deque[Item] = deque()
        self._changed = executor.condition()

    def put(self, item: Item) -> None:
        """Append an item. Returns at once."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> Item | None:
        """The next item; None if there is none within ``timeout`` seconds."""
        with self._changed:
            if not self._items:
                self._changed.wait_for(lambda: self._items, timeout)
            return self._items.popleft() if self._items else None


class Future(Generic[Result]):
    """A result that is set once; another thread waits for it."""

    def __init__(self, executor: Executor) -> None:
        self._changed = executor.condition()
        self._result: Result | None = None
        self.done = False
        """Whether the result is set."""

    def set(self, result: Result) -> None:
        """Set the result."""
        with self._changed:
            self._result, self.done = result, True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> Result | None:
        """The result; None if it is not set within ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.done, timeout)
            return self._result
