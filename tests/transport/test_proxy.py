"""Connections through an HTTP proxy, for messages, weights and the enrolment alike."""

from __future__ import annotations

import base64
import socket
import threading
from urllib.parse import quote

import pytest

from swarm import proxy as proxies
from swarm.addresses import place_of
from swarm.errors import ProxyError, UnreachablePeerError
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.proxy import Proxies, Proxy
from swarm.testing.nodes import DEADLINE, Node, eventually
from swarm.transport.data_channel import DataChannelTransport
from swarm.transport.grpc import GrpcTransport, fetch_status
from tests.transport.connect_proxy import ConnectProxy

PASSWORD = "p:w@ö/ 1"


@pytest.fixture
def proxy():
    made = ConnectProxy(credentials=f"ada:{PASSWORD}")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_host_is_this_machine(monkeypatch):
    """Loopback is never reached through a proxy, and the tests have nothing else."""
    for name in (*proxies.VARIABLES, *proxies.EXCEPT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(proxies, "is_loopback", lambda _: False)


@pytest.fixture
def start():
    nodes = []

    def start(through=None):
        found = Proxies(through) if through else None
        control = GrpcTransport(proxies=found)
        nodes.append(Node(DataChannelTransport(control, "127.0.0.1", proxies=found)))
        return nodes[-1]

    yield start
    for node in nodes:
        node.transport.close(0.0)


def url(proxy, password=PASSWORD):
    return f"http://ada:{quote(password, safe='')}@127.0.0.1:{proxy.port}"


def test_messages_weights_downloads_and_the_status_go_through_it(start, proxy):
    through = Proxy.parse(url(proxy))
    a, b = start(through), start(Proxy("", 0))
    b.handler.served = lambda: [[b"model"]]
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")
    assert set(proxy.connected) == {b.address}
    assert a.upload(b.address, [[b"weights"]]).wait() is None
    assert len(set(proxy.connected)) == 2, "the data port is reached through it too"
    before = len(proxy.connected)
    assert a.fetch(b.address) == [b"model"]
    assert fetch_status(b.address, proxies=Proxies(through))["name"] == "recorder"
    assert len(proxy.connected) >= before + 2


def test_tls_runs_through_it_to_the_peer_of_the_name_and_to_no_other(proxy, tmp_path):
    make_identities({name: tmp_path / name for name in ("sender", "bob")})
    through = Proxies(Proxy.parse(url(proxy)))
    ada, bob = (
        Node(GrpcTransport(identity=Identity(tmp_path / name), proxies=found))
        for name, found in (("sender", through), ("bob", Proxies(Proxy(""))))
    )
    try:
        place = place_of(bob.address)
        ada.say(bob.address, "hello")
        eventually(lambda: bob.handler.texts, "the message arrived")
        assert place in proxy.connected
        own = Identity(tmp_path / "sender")
        for address in (bob.address, place):
            assert fetch_status(address, identity=own, proxies=through)["name"] == "recorder"
        with pytest.raises(UnreachablePeerError, match="is bob, not cyd"):
            fetch_status(f"cyd@{place}", identity=own, proxies=through)
    finally:
        ada.transport.close(0.0)
        bob.transport.close(0.0)


def test_it_is_that_of_the_environment_where_none_is_set(start, proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", url(proxy))
    a = start()
    monkeypatch.setenv("https_proxy", "")
    b = start()
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")
    assert b.address in proxy.connected


@pytest.mark.parametrize(("password", "status"), [("wrong", "407 Proxy"), (PASSWORD, "502 Bad")])
def test_one_that_refuses_is_named_and_its_password_is_not(start, proxy, caplog, capfd, password, status):
    caplog.set_level("DEBUG")
    a = start(Proxy.parse(url(proxy, password)))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        a.say(address, "hello")
        eventually(lambda: a.handler.lost, "the loss is told")
        ((_, reason),) = a.handler.lost
        assert f"the proxy 127.0.0.1:{proxy.port} refuses to connect to {address} ({status}" in reason
        assert ("user and password" if status.startswith("407") else "no_proxy") in reason
        assert a.upload(address, [[b"x"]]).wait()
    said = caplog.text + str(a.handler.lost) + "".join(capfd.readouterr())
    assert password not in said
    assert quote(password, safe="") not in said


def test_one_that_cannot_be_reached_is_named():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(ProxyError, match=f"the proxy {place} cannot be reached: Connection refused"):
            Proxies(Proxy.parse(f"http://{place}")).connect("10.0.0.1", 7700, DEADLINE)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n\r\n", b"x" * 9000])
def test_one_that_says_nothing_or_no_http_is_named(said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as client:
                client.recv(1000)
                client.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ProxyError, match="no answer"):
            Proxies(Proxy("127.0.0.1", server.getsockname()[1])).connect("10.0.0.1", 7700, DEADLINE)
        thread.join(DEADLINE)


@pytest.mark.parametrize(
    ("excepted", "host", "through"),
    [
        ("", "berlin.example", True),
        ("example", "berlin.example", False),
        (".example", "berlin.example", False),
        ("berlin.example", "BERLIN.example", False),
        ("lin.example", "berlin.example", True),
        ("paris.example, 10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("2001:db8::/32", "2001:db8::1", False),
        ("10.1.2.3", "10.1.2.3", False),
        ("*", "berlin.example", False),
        ("*", "10.1.2.3", False),
        # more than one, with commas, spaces or both
        ("paris.example berlin.example", "berlin.example", False),
        (" paris.example ,\tberlin.example,", "berlin.example", False),
        (" , ", "berlin.example", True),
        # a dot or a star before it
        (".berlin.example", "berlin.example", False),
        ("*.example", "berlin.example", False),
        ("*.example", "pc.berlin.example", False),
        ("*.berlin.example", "berlin.example", True),
        ("*lin.example", "berlin.example", True),
        ("example.", "berlin.example", False),
        # with a port
        ("berlin.example:7700", "berlin.example", False),
        ("berlin.example:7700", "pc.berlin.example", False),
        ("berlin.example:7701", "berlin.example", True),
        ("*.example:7700", "berlin.example", False),
        ("*:7701", "berlin.example", True),
        ("10.1.2.3:7700", "10.1.2.3", False),
        ("10.1.2.3:7701", "10.1.2.3", True),
        ("[2001:db8::1]:7700", "2001:db8::1", False),
        ("[2001:db8::1]:7701", "2001:db8::1", True),
        # addresses and networks
        ("2001:db8::1", "2001:db8::1", False),
        ("[2001:db8::1]", "2001:DB8::1", False),
        ("::ffff:10.1.2.3", "10.1.2.3", False),
        ("10.1.2.3/8", "10.9.9.9", False),
        ("2001:db8::/32", "2001:db9::1", True),
        ("2.3", "10.1.2.3", True),
        ("example", "10.1.2.3", True),
        ("10.0.0.0/8", "berlin.example", True),
        ("10.0.0.0/99", "10.1.2.3", True),
    ],
)
def test_hosts_that_are_excepted_are_reached_directly(excepted, host, through):
    found = Proxies(environment={"https_proxy": "http://proxy.example:3128", "no_proxy": excepted}).find(host, 7700)
    assert found == (Proxy("proxy.example", 3128) if through else None)


def test_messages_go_through_it_where_only_grpc_would_except_the_host(start, proxy, monkeypatch):
    monkeypatch.setenv("no_proxy", "0.0.1")  # the end of the address: the core takes that for all hosts below it
    a, b = start(Proxy.parse(url(proxy))), start(Proxy("", 0))
    a.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")
    assert b.address in proxy.connected


def test_this_machine_is_reached_directly(monkeypatch):
    monkeypatch.undo()
    found = Proxies(Proxy("proxy.example", 3128))
    assert [found.find(host, 7700) for host in ("127.0.0.1", "::1", "localhost")] == [None] * 3
    assert found.find("10.0.0.1", 7700)


def test_a_setting_comes_before_the_environment():
    environment = {"https_proxy": "http://other.example:1"}
    assert Proxies(Proxy("proxy.example", 3128), environment).find("a.example", 7700) == Proxy("proxy.example", 3128)
    assert Proxies(Proxy.parse("none"), environment).find("a.example", 7700) is None
    assert Proxies(None, {"HTTPS_PROXY": "proxy.example:3128"}).find("a.example", 7700) == Proxy("proxy.example", 3128)


@pytest.mark.parametrize(
    "value",
    ["socks5h://ada:secret@proxy.example:1080", "https://ada:secret@proxy.example:443", "http://ada:secret@p:0"],
)
def test_a_variable_of_another_kind_counts_where_it_is_needed_and_is_named_without_its_value(value):
    found = Proxies(environment={"https_proxy": value, "no_proxy": "near.example"})
    assert found.find("near.example", 7700) is None
    with pytest.raises(ProxyError, match="far.example.*https_proxy") as caught:
        found.find("far.example", 7700)
    assert "secret" not in str(caught.value)
    assert "http://user:password@host:port" in str(caught.value)
    assert Proxies(Proxy("proxy.example", 3128), {"https_proxy": value}).find("far.example", 7700)


def test_a_variable_of_another_kind_stops_no_peer_and_is_the_reason_of_a_loss(start, monkeypatch):
    b = start(Proxy(""))
    monkeypatch.setenv("https_proxy", "socks5h://proxy.example:1080")
    a = start()
    a.say(b.address, "hello")
    eventually(lambda: a.handler.lost, "the loss is told")
    assert "https_proxy" in a.handler.lost[0][1]
    assert "https_proxy" in a.upload(b.address, [[b"weights"]]).wait()
    with pytest.raises(ProxyError, match="https_proxy"):
        list(a.fetch(b.address))
    with pytest.raises(UnreachablePeerError, match="https_proxy"):
        fetch_status(b.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    c = start()
    c.say(b.address, "hello")
    eventually(lambda: b.handler.texts, "the message arrived")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy.example",
        "http://",
        "http://proxy.example:0",
        "https://proxy.example:1",
        "http://proxy.example:99999",
        "http://a:b@c:1/x",
        "http://a b:1\n",
    ],
)
def test_what_is_no_proxy_is_refused(text):
    with pytest.raises(ValueError, match=r"^$|Port|port|range"):
        Proxy.parse(text)


@pytest.mark.parametrize("text", ["http://proxy.example", "http://proxy.example/", "proxy.example:80"])
def test_a_missing_port_is_that_of_http(text):
    assert Proxy.parse(text) == Proxy("proxy.example", 80)


@pytest.mark.parametrize("text", ["proxy.example", " proxy.example ", "http://proxy.example"])
def test_a_variable_may_have_the_host_alone_as_for_other_programs(text):
    assert Proxies(environment={"https_proxy": text})._proxy == Proxy("proxy.example", 80)


def test_the_password_is_in_the_authorization_only():
    found = Proxy.parse(f"http://ada:{quote(PASSWORD, safe='')}@[2001:db8::1]:3128")
    assert (found.host, found.port, found.user, found.password) == ("2001:db8::1", 3128, "ada", PASSWORD)
    assert base64.b64decode(found.authorization.removeprefix("Basic ")).decode() == f"ada:{PASSWORD}"
    assert str(found) == "http://ada:***@[2001:db8::1]:3128"
    assert PASSWORD not in repr(found)
