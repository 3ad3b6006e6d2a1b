"""Sites whose firewall lets nobody in, in network namespaces with a packet filter."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

TOLD = r"10\.84\.0\.3:\d+ cannot be reached from .*: peers reach this one over the connections that it opens"
ROUNDS = 5
PROXY = Path(__file__).parents[1] / "transport" / "connect_proxy.py"


@pytest.mark.parametrize("networks", [(("ada", "bob", "cyd"),)], indirect=True)
def test_a_site_to_which_nobody_can_connect_takes_part_in_every_round(training, networks) -> None:
    networks.shut("cyd")
    peers = {
        name: training.peer(name, world_size=3, min_peers=3, **networks.settings(name))
        for name in ("ada", "bob", "cyd")
    }
    for peer in peers.values():
        peer.said(f"^ROUND {ROUNDS} merged")
    peers["cyd"].said(f"WARNING .*{TOLD}")
    training.finish()
    merged = training.one_model(*peers.values())
    for name, peer in peers.items():
        groups = re.findall(r"^ROUND \d+ merged (.*)$", peer.text, re.MULTILINE)
        assert set(groups) == {"ada bob cyd"}, f"{name}: {groups}"
        assert " is gone" not in peer.text
        assert merged[name] == pytest.approx(training.steps(peer) / 3, abs=1e-3)
    assert "travel over gRPC" not in peers["ada"].text + peers["bob"].text + peers["cyd"].text


@pytest.mark.parametrize("networks", [(("ada", "bob"), ("cyd",))], indirect=True)
def test_a_site_to_which_nobody_can_connect_returns_after_a_break(training, networks) -> None:
    networks.shut("cyd")
    peers = {
        name: training.peer(name, world_size=3, checkin_model_on_train_end="inactive", **networks.settings(name))
        for name in ("ada", "bob", "cyd")
    }
    ada, bob, cyd = peers.values()
    cut = max(peer.said(r"^ROUND \d+ merged ada bob cyd$") for peer in peers.values())
    networks.cut()
    for peer in (ada, bob):
        peer.said("WARNING .*cyd is gone", after=cut)
        peer.said(r"^ROUND \d+ merged ada bob$", after=cut)
    networks.restore()
    joined = ada.lines[-1][0]
    cyd.said(r"caught up with round \d+ from", after=joined)
    for peer in peers.values():
        peer.said(r"^ROUND \d+ merged ada bob cyd$", after=joined)
    training.finish()
    training.one_model(*peers.values())


@pytest.mark.parametrize("networks", [(("ada", "bob", "cyd"),)], indirect=True)
def test_of_two_sites_that_let_nobody_in_one_takes_part_and_both_say_why(training, networks) -> None:
    for name in ("bob", "cyd"):
        networks.shut(name)
    peers = {name: training.peer(name, world_size=3, **networks.settings(name)) for name in ("ada", "bob", "cyd")}
    for name in ("bob", "cyd"):
        peers[name].said("WARNING .*two peers that accept no connections cannot meet; open the port of one of them")
    said = max(peer.lines[-1][0] for peer in peers.values())
    peers["ada"].said(r"^ROUND \d+ merged ada (bob|cyd)$", after=said)
    taking = "bob" if re.search("^ROUND .* merged ada bob$", peers["ada"].text, re.MULTILINE) else "cyd"
    left = peers["cyd" if taking == "bob" else "bob"]
    left.said(r"SKIPPED \d+ below quorum: 2 of the 2 peers needed are here; missing: (bob|cyd) \(gone\)")
    for name in ("bob", "cyd"):
        assert peers[name].text.count("two peers that accept no connections") == 1
        assert " is back" not in peers[name].text
    training.finish()
    assert peers["ada"].digest == peers[taking].digest
    assert [peer.wait() for peer in peers.values()] == [0, 0, 0]


PASSWORD = "s:e@cr/t"


@pytest.mark.parametrize("networks", [(("ada", "bob", "cyd", "dan"),)], indirect=True)
def test_a_site_behind_a_proxy_with_a_password_takes_part_in_every_round(training, networks, start) -> None:
    networks.isolate("cyd", ("ada", "bob"))
    settings = networks.settings("dan")
    proxy = start("dan", settings["listen"].partition(":")[0], 3128, f"ada:{PASSWORD}", program=PROXY, **settings)
    proxy.said("^LISTENING 3128$")
    through = f"http://ada:{quote(PASSWORD, safe='')}@{networks.address('dan')}:3128"
    peers = {
        name: training.peer(
            name, world_size=3, min_peers=3, proxy=through if name == "cyd" else None, **networks.settings(name)
        )
        for name in ("ada", "bob", "cyd")
    }
    for peer in peers.values():
        peer.said(f"^ROUND {ROUNDS} merged")
    peers["cyd"].said(f"WARNING .*{TOLD}")
    training.finish()
    training.one_model(*peers.values())
    for peer in peers.values():
        assert set(re.findall(r"^ROUND \d+ merged (.*)$", peer.text, re.MULTILINE)) == {"ada bob cyd"}
        assert PASSWORD not in peer.text
        assert quote(PASSWORD, safe="") not in peer.text
    assert len(set(re.findall(r"^CONNECTED (.*)$", proxy.text, re.MULTILINE))) == 4, "two ports of two sites"


@pytest.mark.parametrize("networks", [(("ada", "cyd", "dan"),)], indirect=True)
def test_a_proxy_that_refuses_is_named(training, networks, start) -> None:
    networks.isolate("cyd", ("ada",))
    settings = networks.settings("dan")
    proxy = start("dan", settings["listen"].partition(":")[0], 3128, f"ada:{PASSWORD}", program=PROXY, **settings)
    proxy.said("^LISTENING 3128$")
    training.peer("ada", world_size=2, **networks.settings("ada"))
    through = f"http://ada:wrong@{networks.address('dan')}:3128"
    cyd = training.peer("cyd", world_size=2, proxy=through, **networks.settings("cyd"))
    cyd.said(
        r"WARNING .*the proxy 10\.84\.0\.3:3128 refuses to connect to 10\.84\.0\.1:\d+ "
        r"\(407 Proxy Authentication Required\): give it the user and password"
    )
    assert "wrong" not in cyd.text
