"""Rounds of Swarm's and sums of gloo's by the same processes, timed and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.harness.figures import in_turn
from benchmarks.harness.workers import Workers, user_environment
from benchmarks.merge.counters import count
from benchmarks.merge.phases import phases
from benchmarks.merge.plan import ROUNDING, Plan
from swarm.cli.environment import ONE_THREAD
from swarm.identity.throwaway import make_identities


@dataclass(slots=True, kw_only=True)
class Samples:
    """One number for each round that counts."""

    seconds: list[float] = field(default_factory=list)
    """From the first peer's sync point to the last peer's applied model."""
    peer_seconds: list[float] = field(default_factory=list)
    """From a peer's own sync point to its own applied model: the median of the peers."""
    gloo_seconds: list[float] = field(default_factory=list)
    """From the first process's call to the last one's return."""
    bytes_sent: list[float] = field(default_factory=list)
    """Bytes that a peer sent in Swarm's round, by the interface's counter."""
    busiest: list[int] = field(default_factory=list)
    """Over slow links: bytes through the busiest link in its busier direction, all headers included."""
    extra: list[int] = field(default_factory=list)
    """The most bytes that a peer had resident in addition to those before it joined."""
    phases: list[dict[str, float]] = field(default_factory=list)
    error: float = 0.0
    """Largest difference between a merged value and the weighted mean."""


@contextmanager
def peers_of(
    plan: Plan,
    *,
    gloo: bool,
    place: Callable[[int], Mapping[str, object]] = lambda _: {"listen": "127.0.0.1:0"},
    prefix: Callable[[int], Sequence[str]] = lambda _: (),
    interface: str = "lo",
) -> Iterator[Workers]:
    """The processes of one run.

    Args:
        plan: what they merge.
        gloo: whether they form a group of gloo too.
        place: by rank, settings that say where a peer listens.
        prefix: by rank, the words of the command before Python.
        interface: over which gloo's processes reach each other.

    Raises:
        RuntimeError: a peer could not start.
    """
    environment = {**user_environment(), **ONE_THREAD}
    with Workers("benchmarks.merge.peer", plan.peers, environment=environment, prefix=prefix) as peers:
        meeting, store = str(peers.directory / "rendezvous"), str(peers.directory / "store") if gloo else None
        places = [{"rendezvous": meeting, **place(rank)} for rank in range(plan.peers)]
        if plan.tls:
            for each, identity in zip(places, _identities(plan, peers.directory), strict=True):
                each["identity"] = identity
        peers.each(
            [
                {"plan": asdict(plan), "rank": rank, "place": each, "store": store, "interface": interface}
                for rank, each in enumerate(places)
            ]
        )
        yield peers


def _identities(plan: Plan, directory: Path) -> list[str]:
    """Directories of the peers' identities, by rank."""
    names = [str(plan.settings_of(rank)["name"]) for rank in range(plan.peers)]
    directories = {name: directory / "identities" / name for name in names}
    make_identities(directories)
    return [str(directories[name]) for name in names]


def compare(plan: Plan, rounds: int, warmup: int) -> Samples:
    """Run Swarm's rounds and gloo's sums in turn, in one invocation.

    Raises:
        RuntimeError: a result is wrong, or differs between peers, or a round needed a second attempt.
    """
    samples = Samples()
    with peers_of(plan, gloo=True) as peers:
        begin(peers, plan)
        for turn, (arm, counts) in enumerate(in_turn(("swarm", "gloo"), rounds, warmup), start=2):
            taken = samples if counts else Samples()
            if arm == "swarm":
                merged(peers, plan, turn, taken, lambda: count("lo").sent)
            else:
                taken.gloo_seconds.append(reduced(peers, turn))
        peers.all("end")
    return samples


def begin(peers: Workers, plan: Plan) -> None:
    """Let gloo sum twice, which is checked, and then the sessions begin: memory that gloo keeps is not Swarm's."""
    for turn in range(2):
        reduced(peers, turn, plan)
    peers.all("begin")


def merged(peers: Workers, plan: Plan, turn: int, samples: Samples, sent: Callable[[], int]) -> None:
    """One round of Swarm with new values, checked.

    Args:
        peers: have begun their sessions.
        plan: of these peers.
        turn: decides the values.
        samples: get the figures of this round.
        sent: returns the bytes that all peers together have sent so far, by the interfaces' counters.

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
        samples.phases.append(phases(began, [answer["times"] for answer in answers]))
    samples.error = max(samples.error, _checked(peers, plan, turn))


def _checked(peers: Workers, plan: Plan, turn: int) -> float:
    answers = peers.all("check", turn=turn, merged=True)
    digests = {answer["digest"] for answer in answers}
    if len(digests) != 1:
        raise RuntimeError(f"the peers do not have the same model: digests {sorted(digests)}")
    error: float = max(answer["error"] for answer in answers)
    if not error <= plan.tolerance:
        raise RuntimeError(
            f"a merged value differs by {error:g} from the weighted mean; codec {plan.codec} allows {plan.tolerance:g}"
        )
    return error


def reduced(peers: Workers, turn: int, checked: Plan | None = None) -> float:
    """Seconds of one all_reduce with new values; its result is checked if ``checked`` is given."""
    peers.all("draw", turn=turn)
    answers = peers.all("reduce")
    if checked:
        error = max(answer["error"] for answer in peers.all("check", turn=turn, merged=False))
        if not error <= ROUNDING[checked.dtype]:
            raise RuntimeError(f"a value of gloo's sum is wrong by {error:g}")
    return elapsed(answers)


def elapsed(answers: Sequence[Mapping[str, float]]) -> float:
    """Seconds from the first process's begin to the last one's end."""
    return max(answer["ended"] for answer in answers) - min(answer["began"] for answer in answers)
