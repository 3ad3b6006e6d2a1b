"""Alerts that travel: to a real HTTP server and a real mail server on this machine, on the desk's thread."""

from __future__ import annotations

import http.server
import json
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager
from importlib.metadata import entry_points

import pytest

from swarm.addresses import Address
from swarm.clock import ManualClock
from swarm.plugins import PluginRegistry
from swarm.records import PeerLeft, SessionClosed
from swarm_alerts import _plugin
from swarm_alerts.desk import Desk
from swarm_alerts.sending import post, send_mail
from swarm_alerts.settings import Mail
from swarm_alerts.watcher import Alert, Watcher

ALERT = Alert("gone", "heart", "oslo", "Swarm session heart: oslo is gone")


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that answers with the next of ``codes`` and notes what it got."""

    def do_POST(self):
        self.server.got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.codes.pop(0) if self.server.codes else 200)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        """Be quiet."""


@contextmanager
def serving(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook():
    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.codes = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/SECRET"
    with serving(server):
        yield server


def test_a_webhook_gets_the_alert_as_json(hook):
    post(hook.url, ALERT)
    ((path, body),) = hook.got
    assert path == "/hooks/SECRET"
    assert json.loads(body) == {"kind": "gone", "session": "heart", "peer": "oslo", "text": ALERT.text}


@pytest.mark.parametrize("code", [302, 404, 500])
def test_a_webhook_that_does_not_take_it_is_an_error_without_its_secret(hook, code):
    hook.codes = [code]
    with pytest.raises(ConnectionError, match=str(code)) as failed:
        post(hook.url, ALERT)
    assert "SECRET" not in str(failed.value)
    assert len(hook.got) == 1, "no redirect is followed"


def test_a_webhook_that_is_not_there_is_an_error_without_its_secret(hook):
    with serving(http.server.HTTPServer(("127.0.0.1", 0), Hook)) as gone:
        port = gone.server_address[1]
    with pytest.raises(ConnectionError, match="cannot be reached") as failed:
        post(f"http://127.0.0.1:{port}/SECRET", ALERT)
    assert "SECRET" not in str(failed.value)


class MailServer(socketserver.StreamRequestHandler):
    """Takes one mail, as RFC 5321 says."""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        lines = self.server.got
        while line := self.rfile.readline():
            lines.append(line.decode().rstrip())
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.decode().rstrip())
                self.wfile.write(b"250 taken\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


def test_a_mail_server_gets_the_alert_as_a_mail():
    server = socketserver.TCPServer(("127.0.0.1", 0), MailServer)
    server.got = []
    with serving(server):
        send_mail(Mail("lead@h.example", "swarm@h.example", Address("127.0.0.1", server.server_address[1])), ALERT)
    assert f"Subject: {ALERT.text}" in server.got
    assert "To: lead@h.example" in server.got
    assert any(line.upper().startswith("RCPT TO:<LEAD@H.EXAMPLE>") for line in server.got)


def test_the_desk_tries_again(hook, caplog):
    hook.codes = [503, 503]
    desk = Desk(Watcher(60.0), [lambda alert: post(hook.url, alert)], tries=(0.0, 0.0))
    desk.put(lambda watcher, now: [ALERT])
    desk.close()
    assert len(hook.got) == 3
    assert caplog.text == ""


def test_the_desk_gives_up_with_a_line(hook, caplog):
    hook.codes = [503] * 9
    desk = Desk(Watcher(60.0), [lambda alert: post(hook.url, alert)], tries=(0.0,))
    desk.put(lambda watcher, now: [ALERT])
    desk.close()
    assert len(hook.got) == 2
    assert "an alert was not sent: the webhook at 127.0.0.1 answered 503" in caplog.text
    assert "SECRET" not in caplog.text


def test_an_unexpected_error_costs_one_alert_and_no_later_one(hook, caplog):
    def fails(alert):
        "SECRÄT".encode("ascii")

    sent = []
    desk = Desk(Watcher(60.0), [fails, sent.append])
    desk.put(lambda watcher, now: [ALERT])
    desk.put(lambda watcher, now: 1 / 0)
    desk.put(lambda watcher, now: [ALERT])
    desk.close()
    assert sent == [ALERT, ALERT]
    lost = f"an alert was not sent: UnicodeEncodeError ({ALERT.text})"
    understood = "an event was not understood, and makes no alert"
    assert [record.message for record in caplog.records] == [lost, understood, lost]
    assert "SECR" not in " ".join(record.message for record in caplog.records)


def test_the_desk_tells_of_a_site_that_stays_away():
    sent, clock = [], ManualClock()
    desk = Desk(Watcher(60.0), [sent.append], clock=clock)
    gone = PeerLeft(session="heart", peer="oslo", reason="lost", polite=False)
    desk.put(lambda watcher, now: watcher.left(gone, now))
    clock.advance(61.0)
    desk.put(lambda watcher, now: None)
    desk.close()
    assert [alert.kind for alert in sent] == ["gone"]


def test_the_hooks_reach_the_webhook_and_the_end_waits_for_it(hook):
    program = """
import types
from swarm.plugins import PluginRegistry
from swarm.records import SessionClosed
from swarm_alerts import _plugin
registry = PluginRegistry(extra={"of-this-test": _plugin})
registry.session_closed(SessionClosed(session="heart", rounds=3, digest="", closing=True))
"""
    environment = {"SWARM_ALERTS_WEBHOOK": hook.url, "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=100)
    assert ended.returncode == 0
    assert json.loads(hook.got[0][1])["kind"] == "ended"


def test_a_bad_variable_leaves_the_plugin_out_by_name(monkeypatch):
    monkeypatch.setenv("SWARM_ALERTS_WEBHOOK", "http://h.example/")
    registry = PluginRegistry(extra={"of-this-test": _plugin})
    assert any("SWARM_ALERTS_WEBHOOK" in problem for problem in registry.problems)


def test_without_variables_nothing_is_started(monkeypatch):
    monkeypatch.delenv("SWARM_ALERTS_WEBHOOK", raising=False)
    _plugin.swarm_session_closed(event=SessionClosed(session="heart", rounds=1, digest="", closing=True))
    assert "swarm-alerts" not in {thread.name for thread in threading.enumerate()}


def test_the_entry_point_names_the_hooks():
    (entry,) = entry_points(group="swarm", name="alerts")
    assert entry.load() is _plugin
