"""Sends one alert: as JSON to a webhook, or as a mail."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from dataclasses import asdict
from email.message import EmailMessage
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm_alerts.settings import Mail, Settings
    from swarm_alerts.watcher import Alert

PATIENCE = 10.0
"""Seconds in which a server must answer."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A webhook that leads elsewhere is an error: the alert, and the secret in the address, are for one server."""

    def redirect_request(self, *_arguments: object, **_more: object) -> None:
        return None


def senders(settings: Settings) -> list[Callable[[Alert], None]]:
    """What sends an alert, for each way that is configured."""
    found: list[Callable[[Alert], None]] = []
    if settings.webhook:
        found.append(lambda alert: post(settings.webhook, alert))
    if settings.mail:
        mail = settings.mail
        found.append(lambda alert: send_mail(mail, alert))
    return found


def post(url: str, alert: Alert) -> None:
    """Give an alert to a webhook, as JSON with the sentence in ``text``. Proxies are those of the environment.

    Raises:
        ConnectionError: it was not taken. The text has no secret: not the path of the webhook, and no password.
    """
    body = json.dumps(asdict(alert)).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310 - checked
    host = urlsplit(url).hostname
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=PATIENCE) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"the webhook at {host} answered {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"the webhook at {host} cannot be reached: {_why(error)}") from None


def send_mail(mail: Mail, alert: Alert) -> None:
    """Send an alert as a mail, over TLS; without encryption only to a server on this machine.

    Raises:
        ConnectionError: it was not taken. The text has no secret: not the path of the webhook, and no password.
    """
    message = EmailMessage()
    message["Subject"] = alert.text[:200]
    message["From"], message["To"] = mail.sender, mail.to
    message.set_content(f"{alert.text}\n")
    host, port = mail.server.host, mail.server.port
    context = ssl.create_default_context()
    try:
        if port == smtplib.SMTP_SSL_PORT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=PATIENCE, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=PATIENCE)
        with server:
            if port != smtplib.SMTP_SSL_PORT and not mail.server.is_loopback:
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, mail.password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise ConnectionError(f"the mail server {mail.server.place} does not take it: {_why(error)}") from None


def _why(error: Exception) -> str:
    """The kind of error and its number: its text may hold the address of the webhook."""
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or type(reason).__name__
