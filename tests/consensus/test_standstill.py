"""One member that attacks stops the others from merging for a while at most, and is left out itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.certification.statements import promise_statement, record_hash
from swarm.consensus.paxos import leader_order
from swarm.messages import Abort, Accept, Accepted, Decide, Failed, Nack, Prepare, Promise, Propose, Ready
from swarm.records import Attempt

from .conftest import Peers

SIZES = pytest.mark.parametrize("honest", ["ab", "abc", "abcd"])
LIAR = "q"


def led_by(leader: str, names: tuple[str, ...], round_: int = 1, first: str = "") -> str:
    """The name of a session in which ``leader`` leads that round first, and ``first`` round 1."""
    return next(
        session
        for session in map(str, range(10_000))
        if leader_order(session, round_, names)[0] == leader
        and (not first or leader_order(session, 1, names)[0] == first)
    )


def swarm_of(honest: str, session: str = "s", **rules: object) -> Peers:
    names = (*honest, LIAR)
    peers = Peers((), **{"expected": len(names), "codecs": frozenset({"exact"}), "straggler_timeout": 1.0, **rules})
    peers.rules = replace(peers.rules, session=session)
    for name in names:
        peers.add(name)
    return peers


def go_on(peers: Peers, seconds: float, **stats: object) -> None:
    """All train, and merge every five seconds."""
    end = peers.now + seconds
    while peers.now < end:
        for name, machine in peers.machines.items():
            if not machine.offered:
                peers.offer(name, **(stats if name == LIAR else {}))
        peers.wait(5)


def met(peers: Peers, name: str, weight: int, *, by: str) -> None:
    """``name`` greets one that it has met already, and declares a weight."""
    given = {"weight": weight, "newest": 0, "credential": peers.credential(name)}
    peers.do(by, peers.machines[by].peer_up(name, peers.machines[name].commit, peers.now, **given))


@SIZES
def test_who_sends_each_member_another_slice_is_left_out(honest: str) -> None:
    """It becomes ready itself with a digest that comes first, and slices that would accuse all others."""
    peers = swarm_of(honest)

    def exchange(proposal) -> None:
        joined = peers._joined.get(proposal.key, {})
        if not {*proposal.group} <= joined.keys():
            return
        for name in sorted(joined):
            digest = f"m{proposal.round}.{proposal.attempt.counter}"
            slices = [f"s{owner}" for owner in proposal.group]
            if LIAR in proposal.group and proposal.parent:
                digest += name
                slices = [f"{each}{name}" if each == f"s{LIAR}" else each for each in slices]
                if name == LIAR:
                    digest, slices = "-", [f"x{owner}" for owner in proposal.group]
            peers.bytes[name].add(digest)
            told = proposal.key, digest, peers.norms(proposal), peers.now
            peers.do(name, peers.machines[name].exchanged(*told, slices=tuple(slices)))

    peers.exchange = exchange
    peers.drop = lambda sender, to, message: sender == LIAR and isinstance(message, (Propose, Prepare))
    peers.found()
    go_on(peers, 120)
    assert len(peers.commits("a")) > 15
    assert all(peers.machines[name].commit.members == tuple(honest) for name in honest)


@SIZES
def test_what_nobody_else_has_accepted_stops_nobody(honest: str) -> None:
    """It leads an attempt in which all are ready, aborts it, and says ever after that it has accepted it."""
    peers = swarm_of(honest, led_by(LIAR, (*honest, LIAR)))
    peers.offer(*honest, LIAR)
    asked: list[Accept] = []

    def abort(sender, to, message) -> bool:
        if sender == LIAR and isinstance(message, Accept):
            if not asked:
                asked.append(message)
                for name in honest:
                    peers.bytes[name].discard(message.digest)
                    peers.tell(LIAR, name, Abort(*message.proposal.key, "no"))
            return True
        return sender == LIAR and isinstance(message, (Promise, Prepare, Decide, Ready, Failed))

    peers.drop = abort
    peers.offer(*honest, LIAR)
    (accept,) = asked
    peers.bytes[LIAR].clear()

    def claim(sender, to, message) -> bool:
        """Each ``Prepare`` is answered at once: the attempts can be foretold."""
        proposal = accept.proposal
        if to == LIAR and isinstance(message, Prepare):
            key = message.lineage, message.round, message.attempt
            record = record_hash(proposal.commit(accept.digest))
            statement = promise_statement(peers.rules.session, *key, proposal.attempt, record)
            signature = peers.signers[LIAR].sign(statement)
            told = Promise(*key, proposal, accept.digest, accept.ready, signature)
            peers._wire.appendleft((LIAR, sender, told))
        if to == LIAR and isinstance(message, Accept):
            peers._wire.append((LIAR, sender, peers.accepted(LIAR, message.proposal, message.digest)))
        return (to == LIAR and isinstance(message, (Prepare, Propose))) or (
            sender == LIAR and isinstance(message, (Prepare, Propose, Ready, Failed, Decide))
        )

    peers.drop = claim
    go_on(peers, 120)
    assert all(len(peers.commits(name)) > 2 for name in honest)
    assert not any({*honest} & peers.machines[name].left_out for name in honest)


@SIZES
def test_a_result_is_decided_whatever_weight_its_leader_has_declared_to_others(honest: str) -> None:
    """One that accepted it was told of a weight that the rest was not told of; and then the leader is gone."""
    peers = swarm_of(honest, led_by(LIAR, (*honest, LIAR)))
    peers.offer(*honest, LIAR)
    friends = honest[: len((*honest, LIAR)) // 2]
    for name in friends:
        met(peers, LIAR, 5, by=name)
    peers.drop = lambda sender, to, message: (
        (sender == LIAR and (isinstance(message, Decide) or (isinstance(message, Accept) and to != "a")))
        or (to == LIAR and (isinstance(message, Accepted) or sender not in friends))
    )
    peers.offer(*honest)
    peers.offer(LIAR, weight=5)
    peers.wait(1.2)
    peers.crash(LIAR)
    peers.drop = lambda sender, to, message: False
    go_on(peers, 120)
    assert all(len(peers.commits(name)) > 10 for name in honest)


def test_a_result_is_decided_though_its_leader_has_come_back_with_another_weight() -> None:
    """A process that was killed and is started again with fewer samples: nobody lies."""
    peers = swarm_of("ab", led_by(LIAR, ("a", "b", LIAR)))
    for name in "ab":
        met(peers, LIAR, 5, by=name)
    peers.offer("a", "b", LIAR)
    peers.drop = lambda sender, to, message: (
        (sender == LIAR and (isinstance(message, Decide) or (isinstance(message, Accept) and to != "a")))
        or (to == LIAR and isinstance(message, Accepted))
    )
    peers.offer("a", "b")
    peers.offer(LIAR, weight=5)
    peers.wait(0.1)
    peers.part("b", ("a", LIAR))
    peers.crash(LIAR)
    peers.drop = lambda sender, to, message: False
    peers.add(LIAR, "2", alone=True)
    peers.meet(LIAR, "a", weight=2)
    peers.offer(LIAR, weight=2)
    for name in ("a", LIAR):
        peers.meet("b", name, weight=2)
    go_on(peers, 120, weight=2)
    assert len(peers.commits("a")) > 10


@SIZES
def test_nacks_do_not_keep_the_others_from_starting(honest: str) -> None:
    peers = swarm_of(honest, straggler_timeout=None, start_timeout=600.0)

    def nack(sender, to, message) -> bool:
        if to == LIAR and isinstance(message, Propose):
            key, attempt = message.proposal.key, message.proposal.attempt
            peers._wire.appendleft((LIAR, sender, Nack(*key, Attempt(attempt.counter + 1, "z"))))
            return True
        return sender == LIAR and isinstance(message, (Propose, Prepare, Ready, Failed, Accepted))

    peers.drop = nack
    peers.offer(*honest, LIAR)
    peers.wait(120)
    assert all(peers.machines[name].commit for name in honest)


@SIZES
def test_who_ends_each_attempt_at_the_start_is_not_waited_for(honest: str) -> None:
    """With the default time-outs, longer than one that has failed is left out."""
    names = (*honest, LIAR)
    last = next(session for session in map(str, range(10_000)) if leader_order(session, 0, names)[-1] == LIAR)
    peers = swarm_of(honest, last, straggler_timeout=None, start_timeout=600.0)

    def fail(sender, to, message) -> bool:
        if to == LIAR and isinstance(message, Propose):
            for name in message.proposal.group:
                peers._wire.append((LIAR, name, Failed(*message.proposal.key, LIAR, "no")))
            return True
        return sender == LIAR and isinstance(message, (Ready, Accepted, Propose))

    peers.drop = fail
    peers.offer(*names)
    peers.wait(30)
    assert all(peers.machines[name].commit for name in honest)


@pytest.mark.parametrize(("honest", "late"), [("ab", "b"), ("abc", "c"), ("abcd", "cd")])
def test_nacks_take_no_leader_out_of_reach_of_those_who_come_later(honest: str, late: str) -> None:
    peers = swarm_of(honest, led_by("a", (*honest, LIAR), 2, first="a"))
    peers.offer(*honest, LIAR)
    rest = [name for name in (*honest, LIAR) if name not in late]
    peers.drop = lambda sender, to, message: to in late and isinstance(message, (Decide, Prepare, Accept))
    peers.offer(*rest)
    peers.wait(1.1)
    nacks: list[Nack] = []

    def nack(sender, to, message) -> bool:
        counters = [each.attempt.counter for _, to, each in peers.sent if isinstance(each, Prepare)]
        high = Attempt(max(counters, default=0) + 512, "z")
        if to == LIAR and isinstance(message, Propose) and len(nacks) < 2:
            nacks.append(Nack(*message.proposal.key, high))
            peers._wire.append((LIAR, sender, nacks[-1]))
            return True
        if to == LIAR and isinstance(message, Prepare) and len(nacks) == 2:
            peers._wire.append((LIAR, sender, Nack(message.lineage, message.round, message.attempt, high)))
            return True
        return len(nacks) == 2 and sender == LIAR and not isinstance(message, Nack)

    peers.drop = nack
    peers.offer(*rest)
    peers.wait(1.5)
    assert len(nacks) == 2
    peers.offer(*late)
    peers.wait(60)
    peers.crash(LIAR)
    peers.drop = lambda sender, to, message: False
    go_on(peers, 120)
    assert all(len(peers.commits(name)) > 10 for name in honest)


@SIZES
def test_who_has_declared_less_to_one_is_left_out_and_that_one_is_not(honest: str) -> None:
    """It leads some of the rounds, and claims what it has declared to the others."""
    peers = swarm_of(honest)
    for name in honest:
        if name != "a":
            met(peers, LIAR, 5, by=name)
    peers.found()
    for _ in range(150):
        for name, machine in peers.machines.items():
            if not machine.offered:
                peers.offer(name, weight=5 if name == LIAR else 1)
        peers.wait(0.5)
    groups = [commit.group for commit in peers.commits("b")[1:]]
    assert sum("a" in group for group in groups) > 0.8 * len(groups) > 80
    assert sum(LIAR in group for group in groups) < 0.3 * len(groups)
    assert all("a" in commit.members for commit in peers.commits("b"))
