"""Threads that are used again."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from swarm.testing.nodes import DEADLINE, eventually
from swarm.transport.thread_pool import ThreadPool


def test_a_job_that_blocks_holds_nobody_up() -> None:
    pool, blocked, done = ThreadPool("pool"), threading.Event(), [threading.Event() for _ in range(20)]
    for event in done:
        pool.run(lambda: ignore(blocked.wait(DEADLINE)))
        pool.run(event.set)
    assert all(event.wait(DEADLINE) for event in done)
    blocked.set()


def test_jobs_one_after_the_other_share_a_thread() -> None:
    pool, threads = ThreadPool("pool"), []
    for number in range(1, 21):
        pool.run(lambda: threads.append(threading.get_ident()))
        eventually(lambda number=number: len(threads) == number and pool._free == 1, "the job is done")
    assert len(set(threads)) == 1


def test_threads_without_jobs_end_and_later_jobs_run_still() -> None:
    pool, done = ThreadPool("short-lived thread pool", idle=0.001), threading.Semaphore(0)
    for _ in range(200):
        pool.run(lambda: ignore(done.release()))
    for _ in range(200):
        assert done.acquire(timeout=DEADLINE)
    eventually(
        lambda: not any(thread.name == "short-lived thread pool" for thread in threading.enumerate()), "all ended"
    )
    pool.run(lambda: ignore(done.release()))
    assert done.acquire(timeout=DEADLINE)


def test_a_job_that_finds_no_thread_is_refused_and_does_not_run_later(monkeypatch) -> None:
    pool, ran, done = ThreadPool("pool"), [], [threading.Event() for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", no_more_threads)
        with pytest.raises(RuntimeError, match="no more"):
            pool.run(lambda: ran.append("refused"))
    for event in done:
        pool.run(event.set)
        assert event.wait(DEADLINE)
        eventually(lambda: pool._free == 1, "the job is done")
    assert ran == []


def test_nothing_of_a_job_is_kept_once_it_is_done() -> None:
    class Model:
        """Something large."""

    pool, model = ThreadPool("pool"), Model()
    gone = weakref.ref(model)
    pool.run(lambda model=model: ignore(model))
    del model
    eventually(lambda: pool._free == 1, "the job is done")
    gc.collect()
    assert gone() is None


def no_more_threads(_thread: threading.Thread) -> None:
    raise RuntimeError("there are no more threads")


def ignore(_result: object) -> None:
    """Drop a result, where a job returns nothing."""
