from __future__ import annotations

import pytest

from swarm.errors import ConfigurationError
from swarm_alerts.settings import AFTER, Settings

MAIL = {"SWARM_ALERTS_MAIL": "lead@h.example", "SWARM_ALERTS_FROM": "swarm@h.example", "SWARM_ALERTS_SMTP": "mail:587"}


def test_nothing_is_sent_unless_asked_for():
    assert Settings.of({}) is None
    assert Settings.of({"SWARM_ALERTS_WEBHOOK": " ", "SWARM_ALERTS_AFTER": "5"}) is None


def test_a_webhook_and_a_mail_server_are_read():
    found = Settings.of({**MAIL, "SWARM_ALERTS_WEBHOOK": "https://h.example/x", "SWARM_ALERTS_AFTER": "60"})
    assert (found.webhook, found.after) == ("https://h.example/x", 60.0)
    assert (found.mail.to, found.mail.server.place) == ("lead@h.example", "mail:587")
    assert Settings.of(MAIL).after == AFTER


def test_of_several_local_peers_the_first_sends():
    webhook = {"SWARM_ALERTS_WEBHOOK": "https://h.example/x"}
    assert Settings.of({**webhook, "SWARM_RANK": "0"}) is not None
    assert Settings.of({**webhook, "SWARM_RANK": "1"}) is None


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SWARM_ALERTS_WEBHOOK": "http://h.example/x"}, "SWARM_ALERTS_WEBHOOK"),
        ({"SWARM_ALERTS_WEBHOOK": "ftp://h.example/x"}, "SWARM_ALERTS_WEBHOOK"),
        ({"SWARM_ALERTS_WEBHOOK": "h.example"}, "SWARM_ALERTS_WEBHOOK"),
        ({"SWARM_ALERTS_WEBHOOK": "https://[h.example/x"}, "SWARM_ALERTS_WEBHOOK"),
        ({"SWARM_ALERTS_WEBHOOK": "https://h.example/SECRÄT"}, "SWARM_ALERTS_WEBHOOK has a character"),
        ({**MAIL, "SWARM_ALERTS_USER": "jörg", "SWARM_ALERTS_PASSWORD": "x"}, "SWARM_ALERTS_USER"),
        ({**MAIL, "SWARM_ALERTS_USER": "j", "SWARM_ALERTS_PASSWORD": "SECRÄT"}, "SWARM_ALERTS_PASSWORD"),
        ({"SWARM_ALERTS_MAIL": "a@b"}, "SWARM_ALERTS_FROM"),
        ({**MAIL, "SWARM_ALERTS_SMTP": "mail"}, "SWARM_ALERTS_SMTP"),
        ({**MAIL, "SWARM_ALERTS_MAIL": "a@b\nBcc: c@d"}, "SWARM_ALERTS_MAIL"),
        ({**MAIL, "SWARM_ALERTS_AFTER": "soon"}, "SWARM_ALERTS_AFTER"),
        ({**MAIL, "SWARM_ALERTS_AFTER": "nan"}, "SWARM_ALERTS_AFTER"),
        ({**MAIL, "SWARM_ALERTS_MIAL": "a@b"}, "SWARM_ALERTS_MIAL"),
    ],
)
def test_a_bad_variable_is_refused_by_name(variables, named):
    with pytest.raises(ConfigurationError, match=named) as refused:
        Settings.of(variables)
    assert "SECR" not in str(refused.value)


def test_an_address_of_a_mail_may_have_any_letter():
    assert Settings.of({**MAIL, "SWARM_ALERTS_MAIL": "Jörg <jörg@h.example>"}).mail.to == "Jörg <jörg@h.example>"


def test_secrets_are_in_no_text():
    found = Settings.of({**MAIL, "SWARM_ALERTS_WEBHOOK": "https://h.example/SECRET", "SWARM_ALERTS_PASSWORD": "SECRET"})
    assert "SECRET" not in repr(found)
    with pytest.raises(ConfigurationError) as refused:
        Settings.of({"SWARM_ALERTS_WEBHOOK": "http://h.example/SECRET"})
    assert "SECRET" not in str(refused.value)
