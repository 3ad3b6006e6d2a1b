"""The rounds of one invocation: Swarm's and gloo's in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.merge.conductor import Conductor
from benchmarks.merge.loopback import count
from benchmarks.merge.phases import phases
from benchmarks.merge.plan import ROUNDING, Plan


@dataclass(slots=True, kw_only=True)
class Samples:
    """One number a round, of those that count."""

    seconds: list[float] = field(default_factory=list)
    """From the first peer's sync point to the last peer's applied model."""
    peer_seconds: list[float] = field(default_factory=list)
    """From a peer's own sync point to its applied model: the median of the peers."""
    gloo_seconds: list[float] = field(default_factory=list)
    """From the first process's call to the last one's return."""
    bytes_sent: list[float] = field(default_factory=list)
    """Bytes through the interface in Swarm's round, a peer."""
    extra: list[int] = field(default_factory=list)
    """The most bytes that a peer had resident beyond what it had before it joined."""
    phases: list[dict[str, float]] = field(default_factory=list)
    error: float = 0.0
    """The farthest that a merged value lay from the weighted mean."""


def measure(plan: Plan, rounds: int, warmup: int) -> Samples:
    """Run both arms in turn; every second pair runs backwards.

    Raises:
        RuntimeError: a result is wrong, differs between peers, or a round was not what it should be.
    """
    samples = Samples()
    with Conductor(plan, gloo=True) as peers:
        for number in range(2):  # before the swarm begins: what gloo keeps is no cost of Swarm's
            _reduced(peers, number, plan)
        peers.all("begin")
        for number in range(warmup + rounds):
            turn, taken = 2 * number + 2, samples if number >= warmup else Samples()
            if number % 2:
                gloo = _reduced(peers, turn)
                merged(peers, plan, turn + 1, taken, _through_loopback)
            else:
                merged(peers, plan, turn, taken, _through_loopback)
                gloo = _reduced(peers, turn + 1)
            taken.gloo_seconds.append(gloo)
        peers.all("end")
    return samples


def merged(peers: Conductor, plan: Plan, turn: int, samples: Samples, sent: Callable[[], int]) -> None:
    """One round of Swarm's with new values, checked.

    Args:
        peers: have begun.
        plan: theirs.
        turn: whose values they merge.
        samples: are added to.
        sent: bytes that all of them have sent so far, by the interfaces' counters.

    Raises:
        RuntimeError: the result is wrong, or differs between peers.
    """
    peers.all("draw", turn=turn)
    before = sent()
    answers = peers.all("merge")
    samples.bytes_sent.append((sent() - before) / plan.peers)
    began = min(answer["began"] for answer in answers)
    samples.seconds.append(max(answer["ended"] for answer in answers) - began)
    samples.peer_seconds.append(median(answer["ended"] - answer["began"] for answer in answers))
    samples.extra.append(max(answer["extra"] for answer in answers))
    if plan.profile:
        samples.phases.append(phases(began, [answer["marks"] for answer in answers]))
    samples.error = max(samples.error, _checked(peers, plan, turn))


def _checked(peers: Conductor, plan: Plan, turn: int) -> float:
    answers = peers.all("check", turn=turn, merged=True)
    digests = {answer["digest"] for answer in answers}
    if len(digests) != 1:
        raise RuntimeError(f"the peers do not hold the same model: {sorted(digests)}")
    error: float = max(answer["error"] for answer in answers)
    if not error <= plan.tolerance:
        raise RuntimeError(f"{error:g} off the weighted mean; with codec {plan.codec} at most {plan.tolerance:g}")
    return error


def _reduced(peers: Conductor, turn: int, checked: Plan | None = None) -> float:
    """Seconds of one all_reduce with new values; its result is compared with what ``checked``, if given, asks for."""
    peers.all("draw", turn=turn)
    answers = peers.all("reduce")
    if checked:
        error = max(answer["error"] for answer in peers.all("check", turn=turn, merged=False))
        if not error <= ROUNDING[checked.dtype]:
            raise RuntimeError(f"gloo's sum is {error:g} off: this is no reference")
    return float(max(answer["ended"] for answer in answers) - min(answer["began"] for answer in answers))


def _through_loopback() -> int:
    return count("lo").sent
