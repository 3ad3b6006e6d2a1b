from __future__ import annotations

import json
import math

import pytest

from swarm_dashboard.events import MOST_EVENTS
from swarm_dashboard.history import MOST_PEERS, MOST_SESSIONS, History
from swarm_dashboard.peers import MOST_ROUNDS

from .told import knows, record, report, reported, round_, status, turn


@pytest.fixture
def history():
    return History()


def told(history, since=0):
    """The only session of what is newer than a version."""
    (session,) = json.loads(json.dumps(history.since(since)))["sessions"]
    return session


def states(history):
    return {peer["name"]: peer["state"] for peer in told(history)["peers"]}


def lines(history):
    return [event["text"] for event in told(history)["events"]]


def test_a_peer_is_shown_as_it_says(history):
    history.take(turn(status("paris", state="waiting", waits_for=["oslo"])))
    (peer,) = told(history)["peers"]
    assert (peer["state"], peer["waits_for"], peer["since"]) == ("waiting", ["oslo"], 100.0)
    assert (peer["epoch"], peer["total_epochs"]) == (1, 4)
    assert peer["origins"] == {"sync_interval": "argument"}


def test_only_what_is_new_is_told_again(history):
    history.take(turn(status("paris", rounds=[round_(1)], records=[record(1, ["paris"])]), status("oslo")))
    before = history.version
    history.take(turn(status("paris", rounds=[round_(1), round_(2)], records=[record(1, ["paris"])]), status("oslo")))
    news = told(history, before)
    assert [peer["name"] for peer in news["peers"]] == ["paris"]
    assert [each["round"] for each in news["rounds"]] == [2]
    assert news["records"] == []
    assert news["events"] == []


def test_nothing_new_has_no_new_version(history):
    history.take(turn(status("paris", rounds=[round_(1)])))
    before = history.version
    history.take(turn(status("paris", rounds=[round_(1)]), at=101.0))
    assert history.version == before


def test_totals_count_every_round_once(history):
    for last in (2, 3):
        history.take(turn(status("paris", rounds=[round_(number) for number in range(1, last + 1)])))
    (peer,) = told(history)["peers"]
    assert peer["totals"] == {"rounds": 3, "steps": 24, "seconds": 6.0, "waited": 4.5, "exchanged": 0.75}
    assert peer["waited_for"] == {"oslo": 4.5}


def test_a_peer_that_others_lost_is_gone_and_back_later(history):
    history.take(turn(status("paris", peers=[knows("oslo")]), status("oslo")))
    history.take(turn(status("paris", peers=[knows("oslo", "lost")]), at=110.0, unreachable=["oslo"]))
    assert states(history) == {"paris": "training", "oslo": "gone"}
    history.take(turn(status("paris", peers=[knows("oslo")]), status("oslo"), at=125.0))
    assert states(history)["oslo"] == "training"
    assert lines(history) == ["paris, oslo are there", "oslo is gone", "oslo is back after 15 s"]


def test_a_peer_that_only_the_page_cannot_reach_does_not_answer(history):
    history.take(turn(status("paris", peers=[knows("oslo")]), status("oslo")))
    history.take(turn(status("paris", peers=[knows("oslo")]), unreachable=["oslo"]))
    assert states(history)["oslo"] == "not answering"


def test_a_peer_that_was_never_asked_is_shown_as_others_know_it(history):
    history.take(turn(status("paris", peers=[knows("oslo"), knows("rome", "left")])))
    assert states(history) == {"paris": "training", "oslo": "not asked", "rome": "left"}


def test_a_peer_that_is_over_has_ended_when_it_goes(history):
    history.take(turn(status("paris", state="closed", swarm_over=True)))
    history.take(turn(at=120.0, unreachable=["paris"]))
    assert states(history) == {"paris": "ended"}


def test_a_peer_that_withdrew_its_address_has_left(history):
    history.take(turn(status("paris"), status("oslo")))
    history.take(turn(status("paris")))
    assert states(history)["oslo"] == "left"


def test_refusals_and_missing_sites_are_in_the_log(history):
    refused = [{"peer": "rome", "reason": "its weights have moved too far"}]
    history.take(turn(status("paris", records=[record(1, ["paris", "rome"])])))
    history.take(turn(status("paris", records=[record(2, ["paris"], refused=refused)])))
    assert lines(history)[1:] == [
        "round 2: the contribution of rome was left out: its weights have moved too far",
        "round 2 went ahead without rome",
    ]
    assert told(history)["records"][-1]["refused"] == refused


def test_a_record_that_several_peers_have_is_one(history):
    history.take(turn(status("paris", records=[record(1, ["paris"])]), status("oslo", records=[record(1, ["paris"])])))
    assert len(told(history)["records"]) == 1


def test_a_fork_is_a_warning(history):
    history.take(turn(status("paris", records=[record(4, ["paris"], kind="fork")])))
    (fork,) = [event for event in told(history)["events"] if "fork" in event["text"]]
    assert fork["warning"] is True


def test_a_warning_of_a_peer_comes_once(history):
    warnings = [{"time": 5.0, "text": "round 2: oslo did not accept in time"}]
    for _ in range(2):
        history.take(turn(status("paris", warnings=warnings)))
    assert lines(history).count("round 2: oslo did not accept in time") == 1


def test_the_end_says_how_each_process_ended(history):
    history.take(turn(status("paris"), status("oslo")))
    result = {"session": "heart", "round": 7, "closing": True, "digest": "d" * 64}
    peers = [
        {"name": "paris", "state": "done", "sessions": [result]},
        {"name": "oslo", "state": "failed (3)", "sessions": [{"session": "heart", "closing": False, "reason": ""}]},
    ]
    history.end({"exit_code": 3, "peers": peers}, 200.0)
    assert states(history) == {"paris": "ended", "oslo": "failed (3)"}
    assert history.since(0)["end"] == {"time": 200.0, "exit_code": 3}
    assert lines(history)[1:] == ["paris ended with the closing model of round 7", "oslo: failed (3)"]


def test_an_end_without_a_word_is_an_end(history):
    history.take(turn(status("paris")))
    history.end({}, 200.0)
    assert history.since(0)["end"] == {"time": 200.0, "exit_code": None}


def test_sites_that_fall_silent_together_have_ended_if_the_end_is_told_next(history):
    """The processes of a swarm end within a second of one another, and that of the page a moment later."""
    records = [record(1, ["paris", "rome", "oslo"]), record(2, ["paris", "rome"])]
    lost = [knows("oslo", "lost")]
    history.take(turn(status("paris", records=records, peers=lost), status("rome", peers=lost)))
    before = lines(history)
    history.take(turn(at=101.0, unreachable=["paris", "rome", "oslo"]))
    history.end({}, 102.0)
    assert states(history) == {"paris": "ended", "rome": "ended", "oslo": "gone"}
    assert lines(history) == before


def test_sites_of_the_last_round_have_ended_even_if_they_were_silent_for_long(history):
    history.take(turn(status("paris", records=[record(1, ["paris", "rome"])]), status("rome"), status("oslo")))
    history.take(turn(at=130.0, unreachable=["paris", "rome", "oslo"]))
    history.end({}, 131.0)
    assert states(history) == {"paris": "ended", "rome": "ended", "oslo": "not answering"}


def test_sites_that_stay_silent_do_not_answer(history):
    history.take(turn(status("paris"), status("oslo")))
    history.take(turn(at=114.0, unreachable=["paris", "oslo"]))
    assert states(history) == {"paris": "training", "oslo": "training"}
    history.take(turn(at=115.0, unreachable=["paris", "oslo"]))
    assert states(history) == {"paris": "not answering", "oslo": "not answering"}


def test_who_does_not_answer_is_told_while_nobody_ever_has(history):
    history.take(turn(unreachable=["paris"]))
    version = history.version
    assert history.since(0)["unreachable"] == [{"address": "paris:1", "reason": "nobody is there"}]
    history.take(turn(at=101.0, unreachable=["paris"]))
    assert history.version == version
    history.take(turn(status("paris"), at=102.0, unreachable=["oslo"]))
    assert history.since(0)["unreachable"] == []


def test_sessions_are_told_apart(history):
    history.take(turn(status("paris"), status("paris", session="lungs", state="waiting")))
    shown = {session["name"]: session["peers"][0]["state"] for session in history.since(0)["sessions"]}
    assert shown == {"heart": "training", "lungs": "waiting"}


def test_a_long_run_is_thinned_at_its_beginning_and_keeps_its_end(history):
    for start in range(0, 2 * MOST_ROUNDS, 50):
        history.take(
            turn(status("paris", rounds=[round_(start + each, time=float(start + each)) for each in range(50)]))
        )
    numbers = [each["round"] for each in told(history)["rounds"]]
    assert len(numbers) <= MOST_ROUNDS
    assert numbers == sorted(numbers)
    assert numbers[0] < MOST_ROUNDS / 4
    assert numbers[-100:] == [*range(2 * MOST_ROUNDS - 100, 2 * MOST_ROUNDS)]


@pytest.mark.parametrize(
    "lie",
    [
        {"rounds": 3, "records": "x", "peers": {}, "warnings": None, "settings": [], "waits_for": 1},
        {"rounds": [None, {"time": math.nan}, {"time": 1e300}, round_(1, loss="x", metrics=[1], waited_for={"a": 1})]},
        {"records": [{}, {"record": 5}, {**record(1, []), "contributors": [1], "refused": [1], "group": "abc"}]},
        {"epoch": -1, "total_epochs": "many", "seconds_left": math.inf, "bytes_sent": 10**40, "round": True},
        {"name": 7},
        {"status": {"a": 1}, "peers": [1, {"name": 2}, {"name": "x", "state": []}]},
    ],
)
def test_whatever_a_peer_tells_the_page_goes_on(history, lie):
    history.take(turn({**status("liar"), **lie}, status("paris", rounds=[round_(1)])))
    text = json.dumps(history.since(0), allow_nan=False)
    assert '"paris"' in text


def test_a_peer_that_invents_others_fills_no_memory(history):
    for start in range(0, 3000, 500):
        inventions = [knows(f"ghost-{start + each}") for each in range(500)]
        warnings = [{"time": float(each), "text": f"{start + each}"} for each in range(500)]
        records = [record(start + each, ["liar"]) for each in range(500)]
        history.take(turn(status("liar", peers=inventions, warnings=warnings, records=records)))
    history.take(turn(*(status("liar", session=f"s{each}") for each in range(100))))
    sessions = history.since(0)["sessions"]
    assert len(sessions) <= MOST_SESSIONS
    assert max(len(session["peers"]) for session in sessions) <= MOST_PEERS
    assert max(len(session["events"]) for session in sessions) <= MOST_EVENTS
    assert max(len(session["records"]) for session in sessions) <= 2000


def test_rounds_that_a_peer_did_not_tell_of_come_from_its_report(history):
    group = ["oslo", "paris"]
    history.take(turn(status("paris", rounds=[round_(1), round_(2)], records=[record(2, group)]), status("oslo")))
    before = history.version
    rounds = [reported(number) for number in (1, 2, 3)] + [reported(3, outcome="skipped")]
    closing = reported(4, outcome="closed", refused={"oslo": "not finite"}, weights={"paris": 1})
    totals = {"bytes_sent": 4_900, "bytes_received": 4_800}
    history.report([report("paris", [*rounds, closing], epochs=4, totals=totals)], 120.0)
    news = told(history, before)

    assert [(each["peer"], each["round"], each["outcome"]) for each in news["rounds"]] == [
        ("paris", 3, "merged"),
        ("paris", 4, "closed"),
    ]
    last = news["rounds"][-1]
    assert (last["loss"], last["own_loss"], last["metrics"]) == (0.25, 0.75, {"accuracy": 0.875})
    assert (last["steps"], last["waited_for"]) == (8, ["oslo"])
    assert [(each["round"], each["closing"], each.get("hash")) for each in news["records"]] == [
        (3, False, ""),
        (4, True, None),
    ]
    assert news["records"][1]["record"] == f"{4:064x}"
    assert news["records"][1]["contributors"] == {"paris": 1}
    assert news["records"][1]["refused"] == [{"peer": "oslo", "reason": "not finite"}]
    (paris,) = news["peers"]
    assert (paris["state"], paris["result"]["closing"], paris["result"]["round"]) == ("ended", True, 4)
    assert paris["totals"]["rounds"] == 4
    assert (paris["epoch"], paris["bytes_sent"], paris["bytes_received"]) == (4, 4_900, 4_800)
    assert lines(history)[-1] == "paris ended with the closing model of round 4"


def test_a_record_from_a_report_is_not_shown_again_when_another_peer_tells_it(history):
    history.report([report("paris", [reported(3), reported(4, outcome="closed")])], 100.0)
    history.take(turn(status("oslo", records=[record(3, ["oslo", "paris"]), record(4, ["oslo", "paris"])])))
    assert [each["round"] for each in told(history)["records"]] == [3, 4]


def test_the_reports_of_two_peers_give_each_round_to_both_and_each_record_once(history):
    both = [reported(1), reported(2, outcome="closed")]
    history.report([report("paris", both), report("oslo", both)], 100.0)
    shown = told(history)
    assert sorted((each["peer"], each["round"]) for each in shown["rounds"]) == [
        *(("oslo", 1), ("oslo", 2), ("paris", 1), ("paris", 2)),
    ]
    assert [each["round"] for each in shown["records"]] == [1, 2]
    assert states(history) == {"oslo": "ended", "paris": "ended"}


def test_a_peer_whose_report_was_read_stays_ended_when_it_does_not_answer(history):
    history.take(turn(status("paris"), status("oslo")))
    history.report([report("paris", [reported(1)])], 101.0)
    history.take(turn(status("oslo"), at=130.0, unreachable=["paris"]))
    assert states(history)["paris"] == "ended"
    assert "does not answer" not in " ".join(lines(history))


def test_a_peer_that_is_started_again_has_not_ended_any_more(history):
    history.report([report("paris", [reported(1)], closing=False, reason="it was interrupted")], 101.0)
    history.take(turn(status("paris"), at=130.0))
    (peer,) = told(history)["peers"]
    assert (peer["state"], peer["result"]) == ("training", {})
    history.report([report("paris", [reported(2, outcome="closed")])], 140.0)
    assert [line for line in lines(history) if "ended" in line] == [
        "paris ended without a closing model: it was interrupted",
        "paris ended with the closing model of round 2",
    ]


def test_what_the_launcher_tells_of_an_end_is_not_said_twice(history):
    history.take(turn(status("paris")))
    session = {"session": "heart", "closing": True, "round": 4, "digest": "d" * 64}
    history.end({"exit_code": 0, "peers": [{"name": "paris", "state": "done", "sessions": [session]}]}, 101.0)
    history.report([report("paris", [reported(4, outcome="closed")])], 102.0)
    assert [line for line in lines(history) if "ended with" in line] == [
        "paris ended with the closing model of round 4"
    ]
    assert told(history)["peers"][0]["result"] == session


@pytest.mark.parametrize(
    "odd", [{}, {"site": "paris"}, {"rounds": [3, {}, {"round": "x"}]}, {"sites": 3, "rounds": {}}]
)
def test_a_report_that_lacks_fields_harms_nothing(history, odd):
    history.report([{"session": "heart", "site": "paris", **odd}], 100.0)
    assert states(history) == {"paris": "ended"}
