from __future__ import annotations

import pytest

from swarm.cli.answers import PeerView
from swarm.cli.display import PeerRow
from swarm.cli.ends import PeerEnd
from swarm.cli.summary import record, summary
from swarm.storage.session_records import SessionRecord


class Ended:
    """A launcher whose peers have ended."""

    interrupted_by = None

    def __init__(self, *records, codes=(0, 0)):
        self.records = records
        self.ends = [PeerEnd(name=f"peer-{rank}", code=code) for rank, code in enumerate(codes)]

    def rows(self):
        view = PeerView(name="any", round=3, epoch=2, bytes_sent=100, bytes_received=100)
        return [PeerRow(name=end.name, rank=rank, ended=True, view=view) for rank, end in enumerate(self.ends)]


def closed(rank, session="heart", **fields):
    defaults = {"ended": True, "closing": True, "round": 12, "digest": "d", "bytes_sent": 1000}
    return SessionRecord(rank=rank, session=session, **(defaults | fields))


def left(rank, session="heart", reason="training ended without on_train_end"):
    return SessionRecord(rank=rank, session=session, ended=True, reason=reason, round=11)


RESULT = "RESULT in no file (--model-dir makes one), 12 rounds, digest d…"


@pytest.mark.parametrize(
    ("ended", "lines"),
    [
        (Ended(closed(0), closed(1)), ["all 2 peers ended well, epoch 2, 2.0 kB sent", RESULT]),
        (
            Ended(closed(0, file="/m/peer-0/f"), closed(1, file="/m/peer-1/f")),
            ["all 2 peers ended well, epoch 2, 2.0 kB sent", "RESULT /m/peer-*/f, 12 rounds, digest d…"],
        ),
        (
            Ended(*(closed(rank, file=f"/m/peer-{rank}/site-final.safetensors") for rank in (0, 1))),
            [
                "all 2 peers ended well, epoch 2, 2.0 kB sent",
                "RESULT /m/peer-*/site-final.safetensors, 12 rounds, digest of the closing model d…",
            ],
        ),
        (
            Ended(closed(0), closed(1), closed(0, "heart.pool", round=3), closed(1, "heart.pool", round=3)),
            ["all 2 peers ended well, epoch 2, 4.0 kB sent", RESULT],
        ),
        (
            Ended(closed(0), closed(1, round=9, digest="e")),
            [
                (
                    "all 2 peers ended with exit code 0, but the closing models differ: "
                    "peer-0 of round 12, peer-1 of round 9"
                )
            ],
        ),
        (
            Ended(closed(0, run=2), closed(1, run=2)),
            ["all 2 peers ended well, epoch 2, 2.0 kB sent", RESULT.replace("rounds", "rounds of run 2")],
        ),
        (
            Ended(closed(0, run=2, digest="e"), closed(1)),
            [
                (
                    "all 2 peers ended with exit code 0, but the closing models differ: "
                    "peer-0 of round 12 of run 2, peer-1 of round 12"
                )
            ],
        ),
        (
            Ended(closed(0), closed(0, "lungs", round=4), closed(1), closed(1, "lungs", round=4)),
            [
                "all 2 peers ended well, epoch 2, 4.0 kB sent",
                RESULT.replace(" in", " of session heart in"),
                RESULT.replace(" in", " of session lungs in").replace("12 r", "4 r"),
            ],
        ),
        (
            Ended(closed(0), left(1)),
            [
                (
                    "all 2 peers ended with exit code 0, but peer-1 ended without a closing model "
                    "(training ended without on_train_end)"
                ),
                RESULT,
            ],
        ),
        (
            Ended(left(0), left(1)),
            [
                (
                    "all 2 peers ended with exit code 0, but peer-0, peer-1 ended without a closing model "
                    "(training ended without on_train_end)"
                )
            ],
        ),
        (
            Ended(closed(0), SessionRecord(rank=1, session="heart")),
            [
                (
                    "all 2 peers ended with exit code 0, but peer-1 ended without a closing model "
                    "(it ended without leaving the session)"
                ),
                RESULT,
            ],
        ),
        (
            Ended(closed(0), left(0, "lungs", "why"), closed(1), closed(1, "lungs")),
            [
                "all 2 peers ended with exit code 0, but peer-0 ended without a closing model of session lungs (why)",
                RESULT.replace(" in", " of session heart in"),
                RESULT.replace(" in", " of session lungs in"),
            ],
        ),
        (
            Ended(left(0, reason="below quorum"), SessionRecord(rank=1, session="heart"), codes=(0, 5)),
            ["FAILED peer-1: exit code 5; 1 of 2 finished", "peer-0 ended without a closing model (below quorum)"],
        ),
        (
            Ended(closed(0), SessionRecord(rank=1, session="heart"), codes=(0, -9)),
            ["FAILED peer-1: ended by SIGKILL; 1 of 2 finished", RESULT],
        ),
        (Ended(), ["all 2 peers ended well, epoch 2, 200 B sent"]),
    ],
)
def test_the_last_lines_say_what_the_peers_ended_with(ended, lines):
    assert summary(ended) == lines


def test_the_document_tells_where_the_result_is_and_how_each_session_ended():
    document = record(Ended(closed(0, file="/m/peer-0/f"), SessionRecord(rank=1, session="heart")), 0)
    first, second = document["peers"]
    assert (first["round"], first["epoch"], first["bytes_sent"]) == (3, 2, 1000)
    assert [(each["session"], each["closing"]) for each in first["sessions"]] == [("heart", True)]
    assert first["sessions"][0]["run"] == 1
    assert second["bytes_sent"] == 100, "what it was last seen with"
    assert second["sessions"][0]["closing"] is False
    assert document["results"] == [{"session": "heart", "files": ["/m/peer-0/f"], "rounds": 12, "digest": "d"}]


def test_the_document_names_the_error_of_a_failed_peer():
    ended = Ended(codes=(0, 1))
    ended.ends[1] = PeerEnd(name="peer-1", code=1, cause="ValueError: label 7 (train.py:22)", joined=False)
    first, second = record(ended, 1)["peers"]
    assert (first["error"], first["joined"]) == (None, True)
    assert (second["error"], second["joined"]) == ("ValueError: label 7 (train.py:22)", False)
