from __future__ import annotations

import pytest

from swarm.errors import ConfigurationError, MissingExtraError
from swarm.proxy import Proxies, Proxy
from swarm_nats import settings
from swarm_nats.settings import HubSettings

SERVERS = {"SWARM_NATS_SERVERS": "tls://hub.example.org:4222, nats://10.0.0.7"}


def test_several_servers_are_read():
    hub = HubSettings.from_environment({**SERVERS, "SWARM_NATS_SUBJECT": "trials.heart", "SWARM_NATS_REPLICAS": "3"})
    assert hub.servers == ("tls://hub.example.org:4222", "nats://10.0.0.7")
    assert hub.hosts == ("hub.example.org", "10.0.0.7")
    assert (hub.subject, hub.replicas) == ("trials.heart", 3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "need SWARM_NATS_SERVERS"),
        ({"SWARM_NATS_SERVERS": " , "}, "need SWARM_NATS_SERVERS"),
        ({"SWARM_NATS_SERVERS": "tls://a:1,http://b:2"}, "entry 2 of SWARM_NATS_SERVERS is no URL of a server"),
        ({"SWARM_NATS_SERVERS": "nats://a:port"}, "entry 1 of SWARM_NATS_SERVERS is no URL of a server"),
        ({**SERVERS, "SWARM_NATS_SERVER": "nats://a:1"}, "there is no variable SWARM_NATS_SERVER: allowed are"),
        ({**SERVERS, "SWARM_NATS_DOMAIN": "hub.>"}, "SWARM_NATS_DOMAIN='hub.>' is no domain of JetStream"),
        ({**SERVERS, "SWARM_NATS_CREDENTIALS": "/no/such/file"}, "SWARM_NATS_CREDENTIALS=/no/such/file cannot be read"),
        ({**SERVERS, "SWARM_NATS_CA": __file__}, "holds no certificates in PEM"),
        ({**SERVERS, "SWARM_NATS_SUBJECT": "swarm.>"}, "SWARM_NATS_SUBJECT='swarm.>' is no prefix of subjects"),
        ({**SERVERS, "SWARM_NATS_REPLICAS": "2"}, "SWARM_NATS_REPLICAS='2' is not allowed"),
    ],
)
def test_what_is_not_allowed_is_told_by_name(given, told):
    with pytest.raises(ConfigurationError, match=told):
        HubSettings.from_environment(given)


@pytest.mark.parametrize(
    "server", ["nats://ada:secret@hub:4222", "nats://ada:secret@hub:no port", "x://ada:secret@hub"]
)
def test_a_password_is_never_shown(server):
    try:
        hub = HubSettings.from_environment({"SWARM_NATS_SERVERS": server})
    except ConfigurationError as error:
        text = str(error)
    else:
        text = f"{hub.shown} {hub!r}"
        assert "nats://hub:4222" in text
    assert "secret" not in text


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(settings.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="wss://hub:443 in SWARM_NATS_SERVERS needs the package aiohttp"):
        HubSettings.from_environment({"SWARM_NATS_SERVERS": "wss://hub:443"})
    with pytest.raises(MissingExtraError, match="SWARM_NATS_CREDENTIALS needs the package nkeys"):
        HubSettings.from_environment({**SERVERS, "SWARM_NATS_CREDENTIALS": __file__})


def test_a_websocket_that_would_need_a_proxy_is_refused_with_what_to_do():
    through = Proxies(Proxy("proxy.example", 3128, "ada", "secret"), environment={"no_proxy": "inside.example:443"})
    pytest.importorskip("aiohttp")
    with pytest.raises(ConfigurationError, match=r"through the proxy proxy.example:3128: use tls:// there") as caught:
        HubSettings.from_environment({"SWARM_NATS_SERVERS": "wss://hub.example.org"}, through)
    assert "secret" not in str(caught.value)
    for server in ("tls://hub.example.org:443", "wss://inside.example", "ws://127.0.0.1:8080"):
        assert HubSettings.from_environment({"SWARM_NATS_SERVERS": server}, through).servers == (server,)
