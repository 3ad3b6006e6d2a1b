from __future__ import annotations

import pytest

from swarm.cli.answers import PeerView
from swarm.cli.display import PeerRow
from swarm.cli.launcher import PeerEnd
from swarm.cli.summary import record, summary
from swarm.storage.session_records import SessionRecord


class Ended:
    """A launcher whose peers have ended."""

    interrupted_by = None

    def __init__(self, *records, codes=(0, 0)):
        self.records = records
        self.ends = [PeerEnd(name=f"peer-{rank}", code=code) for rank, code in enumerate(codes)]

    def rows(self):
        view = PeerView(name="any", round=3, bytes_sent=100, bytes_received=100)
        return [PeerRow(name=end.name, rank=rank, ended=True, view=view) for rank, end in enumerate(self.ends)]


def closed(rank, session="heart", **fields):
    defaults = {"ended": True, "closing": True, "round": 12, "digest": "d", "bytes_sent": 1000}
    return SessionRecord(rank=rank, session=session, **(defaults | fields))


def left(rank, session="heart", reason="training ended without on_train_end"):
    return SessionRecord(rank=rank, session=session, ended=True, reason=reason, round=11)


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        (Ended(closed(0), closed(1)), "all 2 peers ended well: closing model of round 12, 2.0 kB sent"),
        (
            Ended(closed(0, file="/m/peer-0/f"), closed(1, file="/m/peer-1/f")),
            "all 2 peers ended well: closing model of round 12 in /m/peer-0/f, 2.0 kB sent",
        ),
        (
            Ended(closed(0), closed(1, round=9, digest="e")),
            (
                "all 2 peers ended with exit code 0, but the closing models differ: "
                "peer-0 of round 12, peer-1 of round 9"
            ),
        ),
        (
            Ended(closed(0, run=2), closed(1, run=2)),
            "all 2 peers ended well: closing model of round 12 of run 2, 2.0 kB sent",
        ),
        (
            Ended(closed(0, run=2, digest="e"), closed(1)),
            (
                "all 2 peers ended with exit code 0, but the closing models differ: "
                "peer-0 of round 12 of run 2, peer-1 of round 12"
            ),
        ),
        (
            Ended(closed(0), closed(0, "lungs", round=4), closed(1), closed(1, "lungs", round=4)),
            (
                "all 2 peers ended well: closing model of session heart of round 12, closing model of session lungs of "
                "round 4, 4.0 kB sent"
            ),
        ),
        (
            Ended(closed(0), left(1)),
            (
                "all 2 peers ended with exit code 0, but peer-1 ended without a closing model "
                "(training ended without on_train_end)"
            ),
        ),
        (
            Ended(left(0), left(1)),
            (
                "all 2 peers ended with exit code 0, but peer-0, peer-1 ended without a closing model "
                "(training ended without on_train_end)"
            ),
        ),
        (
            Ended(closed(0), SessionRecord(rank=1, session="heart")),
            (
                "all 2 peers ended with exit code 0, but peer-1 ended without a closing model "
                "(it ended without leaving the session)"
            ),
        ),
        (
            Ended(closed(0), left(0, "lungs", "why"), closed(1), closed(1, "lungs")),
            "all 2 peers ended with exit code 0, but peer-0 ended without a closing model of session lungs (why)",
        ),
        (
            Ended(left(0, reason="below quorum"), SessionRecord(rank=1, session="heart"), codes=(0, 5)),
            (
                "1 of 2 peers failed: peer-1 ended with exit code 5 (exit code 5); "
                "peer-0 ended without a closing model (below quorum)"
            ),
        ),
        (Ended(), "all 2 peers ended well, 200 B sent"),
    ],
)
def test_the_last_line_says_what_the_peers_ended_with(ended, line):
    assert summary(ended, next((end.code for end in ended.ends if end.failed), 0)) == line


def test_the_document_tells_the_last_round_and_not_the_one_last_seen():
    first, second = record(Ended(closed(0), SessionRecord(rank=1, session="heart")), 0)["peers"]
    assert (first["round"], first["bytes_sent"]) == (12, 1000)
    assert [(each["session"], each["closing"]) for each in first["sessions"]] == [("heart", True)]
    assert first["sessions"][0]["run"] == 1
    assert (second["round"], second["bytes_sent"]) == (3, 100), "what it was last seen with"
    assert second["sessions"][0]["closing"] is False
