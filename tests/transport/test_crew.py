"""Threads that are used again."""

from __future__ import annotations

import gc
import threading
import weakref

from swarm.testing.nodes import DEADLINE, eventually
from swarm.transport.crew import Crew


def test_a_job_that_blocks_holds_nobody_up() -> None:
    crew, blocked, done = Crew("crew"), threading.Event(), [threading.Event() for _ in range(20)]
    for event in done:
        crew.run(lambda: void(blocked.wait(DEADLINE)))
        crew.run(event.set)
    assert all(event.wait(DEADLINE) for event in done)
    blocked.set()


def test_jobs_one_after_the_other_share_a_thread() -> None:
    crew, threads = Crew("crew"), []
    for number in range(1, 21):
        crew.run(lambda: threads.append(threading.get_ident()))
        eventually(lambda number=number: len(threads) == number and crew._free == 1, "the job is done")
    assert len(set(threads)) == 1


def test_threads_without_jobs_end_and_later_jobs_run_still() -> None:
    crew, done = Crew("short-lived crew", idle=0.001), threading.Semaphore(0)
    for _ in range(200):
        crew.run(lambda: void(done.release()))
    for _ in range(200):
        assert done.acquire(timeout=DEADLINE)
    eventually(lambda: not any(thread.name == "short-lived crew" for thread in threading.enumerate()), "all ended")
    crew.run(lambda: void(done.release()))
    assert done.acquire(timeout=DEADLINE)


def test_nothing_of_a_job_is_kept_once_it_is_done() -> None:
    class Model:
        """Something large."""

    crew, model = Crew("crew"), Model()
    gone = weakref.ref(model)
    crew.run(lambda model=model: void(model))
    del model
    eventually(lambda: crew._free == 1, "the job is done")
    gc.collect()
    assert gone() is None


def void(_result: object) -> None:
    """Drop a result, where a job returns nothing."""
