"""The page on a real socket: HTTP, TLS with a token, TLS with certificates."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from importlib.metadata import entry_points

import pytest

from swarm.identity import identity_at
from swarm.identity.throwaway import make_identities
from swarm_dashboard import serve

from .told import report, reported, status, turn


@contextmanager
def page(*, token="", identity=None, turns=None, reports=list):
    """A page that runs; yields the port and a function that ends it and waits for that."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    end = []
    thread = threading.Thread(
        target=serve,
        args=(turns or (lambda: turn(status("paris"))),),
        kwargs={
            "listening": listening,
            "token": token,
            "identity": identity,
            "ended": lambda: end[0] if end else None,
            "reports": reports,
        },
        daemon=True,
    )
    thread.start()

    def stop(how=None):
        end.append(how or {})
        thread.join(20)
        assert not thread.is_alive()

    yield port, stop
    if thread.is_alive():
        stop()


def get(port, path="/", *, context=None, headers=None):
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    connection = kind("127.0.0.1", port, timeout=20, **({"context": context} if context else {}))
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.fixture
def identities(tmp_path):
    places = {name: tmp_path / name for name in ("paris", "oslo")}
    make_identities(places)
    return places


def test_the_core_finds_the_page_by_its_entry_point():
    (entry,) = entry_points(group="swarm.dashboard")
    assert entry.load() is serve


def test_a_browser_follows_until_the_end():
    with page(token="secret") as (port, stop):
        assert get(port)[0] == 401
        cookie = {"cookie": f"swarm_page_{port}=secret"}
        assert get(port, headers=cookie)[0] == 200
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        stream.request("GET", "/events", headers=cookie)
        answer = stream.getresponse()
        lines = iter(answer.readline, b"")
        first = next(json.loads(line[6:]) for line in lines if line.startswith(b"data: ") and b"paris" in line)
        assert first["end"] is None
        stop({"exit_code": 0, "peers": [{"name": "paris", "state": "done", "sessions": [{"session": "heart"}]}]})
        last = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")][-1]
        assert last["end"]["exit_code"] == 0
        assert last["sessions"][0]["peers"][0]["state"] == "ended"


def test_the_report_that_a_peer_writes_at_its_end_is_shown_with_the_end():
    written = []
    with page(token="secret", reports=lambda: [written.pop()] if written else []) as (port, stop):
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        stream.request("GET", "/events", headers={"cookie": f"swarm_page_{port}=secret"})
        lines = iter(stream.getresponse().readline, b"")
        next(line for line in lines if line.startswith(b"data: ") and b"paris" in line)
        written.append(report("paris", [reported(9, outcome="closed")]))
        stop()
        news = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    assert news[-1]["end"] is not None
    assert [each["round"] for one in news for each in one["sessions"][0]["rounds"]] == [9]


def test_an_error_while_asking_ends_the_page_loudly():
    def fails():
        raise ZeroDivisionError

    listening = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(ZeroDivisionError):
        serve(fails, listening=listening, token="t", identity=None, ended=lambda: None, reports=list)


def test_with_an_identity_the_page_is_encrypted(identities):
    with page(token="secret", identity=identities["paris"]) as (port, _):
        context = ssl.create_default_context(cafile=identities["paris"] / "authority.pem")
        context.check_hostname = False  # the certificate is for the name of the site
        assert get(port, context=context)[0] == 401
        assert get(port, context=context, headers={"cookie": f"swarm_page_{port}=secret"})[0] == 200
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            get(port, context=context)


def test_without_a_token_a_certificate_of_a_member_opens_the_page(identities):
    with page(identity=identities["paris"]) as (port, _):
        member = identity_at(identities["oslo"]).make_client_context()
        member.check_hostname = False
        assert get(port, context=member)[0] == 200


def test_without_a_token_and_without_a_certificate_nothing_is_shown(identities):
    with page(identity=identities["paris"]) as (port, _):
        stranger = ssl.create_default_context(cafile=identities["paris"] / "authority.pem")
        stranger.check_hostname = False
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            get(port, context=stranger)


def test_a_certificate_that_does_not_count_any_more_opens_nothing(identities, monkeypatch):
    from swarm.errors import UntrustedPeerError

    def revoked(pem):
        raise UntrustedPeerError("the certificate of oslo is revoked")

    own = identity_at(identities["paris"])
    monkeypatch.setattr(own, "trust", revoked)
    with page(identity=identities["paris"]) as (port, _):
        member = identity_at(identities["oslo"]).make_client_context()
        member.check_hostname = False
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            get(port, context=member)
