from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.certificates import CERTIFICATES, Machines, table

if TYPE_CHECKING:
    import pytest


def test_every_peer_signs_its_offer_its_readiness_and_its_vote_and_checks_those_of_the_others() -> None:
    machines = Machines(4)
    for signer in machines.signers.values():
        signer.reset()
    machines.round()
    assert {signer.signed for signer in machines.signers.values()} == {3}
    assert all(signer.verified >= 3 for signer in machines.signers.values())
    assert all(signer.seconds > 0 for signer in machines.signers.values())


def test_the_record_has_the_goal_for_eight_peers_only(capsys: pytest.CaptureFixture[str]) -> None:
    CERTIFICATES.main(["--peers", "3", "--rounds", "5", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["goal"] is None
    assert record["signed"] == 3
    assert 0 < record["hashes"] < record["signatures_and_hashes"]
    CERTIFICATES.main(["--peers", "8", "--rounds", "5", "--json"])
    assert json.loads(capsys.readouterr().out)["goal"]["at_most"] == 2
    assert "3 peers" in table(record)
