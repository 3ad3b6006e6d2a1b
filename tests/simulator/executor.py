"""Threads of one simulated process as greenlets, stepped by the loop; waits end in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from swarm.executor import Condition, Executor, Task, Work
from tests.simulator.clock import ProcessClock
from tests.simulator.loop import Loop


class Gate(Protocol):
    """The process that a greenlet belongs to."""

    def do(self, work: Work) -> None:
        """Run ``work`` now, later if the process stands still, never if it is dead."""
        ...

    def stepped(self) -> None:
        """One of its tasks has gone on, and waits again or has ended."""
        ...


class ClosedGate:
    """That of a process that is gone."""

    def do(self, work: Work) -> None:
        """Run nothing."""

    def stepped(self) -> None:
        """Nobody looks."""


class SimulatedExecutor(Executor):
    """Runs the work of one process. Whatever waits switches to the greenlet of the loop."""

    def __init__(self, loop: Loop, clock: ProcessClock, gate: Gate) -> None:
        self.clock = clock
        self.gate = gate
        self._loop = loop
        self.hub = getcurrent()
        """The greenlet of the loop."""
        self._tasks: dict[SimulatedTask, None] = {}
        """Those that have not ended, in the order of their start."""
        self._dead = False

    def now(self) -> float:
        return self.clock.read(self._loop.now)

    def start(self, name: str, work: Work) -> Task:
        task = SimulatedTask(self, work)
        self._tasks[task] = None
        self._loop.after(0.0, task.resume)
        return task

    def later(self, seconds: float, work: Work) -> None:
        self._loop.after(seconds / self.clock.rate, lambda: self.gate.do(work))

    def condition(self) -> Condition:
        return SimulatedCondition(self)

    def sleep(self, seconds: float) -> None:
        """Let as much time pass."""
        self.wait([], lambda: False, seconds)

    def wait(self, waiting: list[SimulatedTask], predicate: Callable[[], Any], timeout: float | None) -> Any:
        """Wait in ``waiting`` until ``predicate`` holds, or as many seconds; the predicate's last value."""
        if self._dead:
            raise GreenletExit
        task: SimulatedTask = getcurrent().task  # type: ignore[attr-defined]  # every task has a carrier
        task.predicate = predicate
        task.deadline = None if timeout is None else self.now() + timeout
        waiting.append(task)
        try:
            while True:
                task.set_alarm()
                self.hub.switch()
                if self._dead:
                    raise GreenletExit
                result = predicate()
                if result or (task.deadline is not None and self.now() >= task.deadline):
                    return result
        finally:
            task.predicate = task.deadline = None
            waiting.remove(task)

    def clock_changed(self) -> None:
        """The clock has jumped, or goes at another rate: alarms are due at other moments."""
        for task in list(self._tasks):
            task.alarm = None
            task.set_alarm()

    def die(self) -> None:
        """End all tasks as a crash ends threads: what they still do in ``finally`` reaches nobody.

        One that is running ends by itself at the ``GreenletExit`` that its caller raises.
        """
        self._dead = True
        if getcurrent() is self.hub:
            self._reap()
        else:
            self.soon(self._reap)

    def _reap(self) -> None:
        for task in list(self._tasks):
            task.end()
        self._tasks.clear()
        # A finalizer that never runs may hold this executor; it need not hold the whole process.
        self.gate = ClosedGate()

    # For tasks and conditions --------------------------------------------------------------------------------------

    def ended(self, task: SimulatedTask) -> None:
        """A task has ended."""
        self._tasks.pop(task, None)

    def at(self, reading: float, work: Work) -> None:
        """Run ``work`` when the clock shows ``reading``."""
        self._loop.at(self.clock.moment(reading), work)

    def soon(self, work: Work) -> None:
        """Run ``work`` after what is due now."""
        self._loop.after(0.0, work)


class SimulatedCondition:
    """A condition whose lock is never contended, as only one greenlet runs at a time."""

    def __init__(self, executor: SimulatedExecutor) -> None:
        self._executor = executor
        self._waiting: list[SimulatedTask] = []

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *error: object) -> None:
        pass

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        result = predicate()
        if result or (timeout is not None and timeout <= 0):
            return result
        return self._executor.wait(self._waiting, predicate, timeout)

    def notify_all(self) -> None:
        for task in self._waiting:
            if not task.woken and task.predicate and task.predicate():
                task.wake()


class Carrier(greenlet):
    """A greenlet that runs one task after the other: most tasks take less time than the start of a greenlet does."""

    idle: ClassVar[list[Carrier]] = []
    """Those without a task."""

    def __init__(self, hub: greenlet, task: SimulatedTask) -> None:
        """``hub`` is the greenlet of the loop."""
        super().__init__(parent=hub)
        self.hub = hub
        self.task = task

    def run(self) -> None:
        """Run a task, then wait for the next one; an error ends this greenlet and goes to the loop."""
        while True:
            self.task.run()
            del self.task
            self.idle.append(self)
            self.hub.switch()


class SimulatedTask:
    """What one greenlet does until it has ended."""

    def __init__(self, executor: SimulatedExecutor, work: Work) -> None:
        self.predicate: Callable[[], Any] | None = None
        """What it waits for."""
        self.deadline: float | None = None
        """The clock's reading at which it no longer waits."""
        self.alarm: float | None = None
        """The reading at which it looks at its deadline."""
        self._executor = executor
        self._work = work
        self.woken = False
        """Whether it is about to go on."""
        self._carrier: Carrier | None = None
        self._done = False
        self._ended = SimulatedCondition(executor)

    def is_alive(self) -> bool:
        return not self._done

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait_for(lambda: self._done, timeout)

    def wake(self) -> None:
        """Go on after what is due now."""
        self.woken = True
        self._executor.soon(self.resume)

    def resume(self) -> None:
        """Go on now, unless the process stands still; in the loop's greenlet."""
        self.woken = True
        self._executor.gate.do(self._switch)

    def _switch(self) -> None:
        self.woken = False
        if self._done:
            return
        if self._carrier is None:
            self._carrier = self._taken()
        self._carrier.switch()
        self._executor.gate.stepped()

    def _taken(self) -> Carrier:
        hub, idle = self._executor.hub, Carrier.idle
        if idle and idle[-1].hub is hub:
            carrier = idle.pop()
            carrier.task = self
            return carrier
        return Carrier(hub, self)

    def end(self) -> None:
        """End it where it waits, as its process has died; called in the loop's greenlet."""
        if self._carrier:
            self._carrier.throw(GreenletExit)

    def set_alarm(self) -> None:
        """See to it that the deadline is noticed; an alarm that comes first sets the next one."""
        deadline = self.deadline
        if deadline is not None and (self.alarm is None or deadline < self.alarm):
            self.alarm = deadline
            self._executor.at(deadline, lambda: self._ring(deadline))

    def _ring(self, reading: float) -> None:
        if self.alarm != reading:
            return
        self.alarm = None
        if self.deadline is None or self._done:
            return
        if self._executor.now() >= self.deadline:
            if not self.woken:
                self.resume()
        else:
            self.set_alarm()

    def run(self) -> None:
        """Do the work; in a greenlet of its own."""
        try:
            self._work()
        except GreenletExit:
            pass  # its process has died
        finally:
            self._done = True
            self._carrier = None
            self._executor.ended(self)
            self._ended.notify_all()
