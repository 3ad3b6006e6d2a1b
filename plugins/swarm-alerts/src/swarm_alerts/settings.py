"""The variables of the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from swarm.addresses import Address, is_loopback
from swarm.errors import AddressError, ConfigurationError

PREFIX = "SWARM_ALERTS_"
AFTER = 300.0
"""Seconds for which a site is gone before that is worth an alert."""


@dataclass(frozen=True, slots=True)
class Mail:
    """Where mails go."""

    to: str
    sender: str
    server: Address
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for."""

    webhook: str = field(default="", repr=False)
    """An address that gets each alert as JSON; it may hold a secret. Empty: none."""
    mail: Mail | None = None
    after: float = AFTER

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings | None:
        """The settings in ``SWARM_ALERTS_*``; None if nothing is to be sent.

        Of several peers that ``swarm up`` has started, only the first one sends: they have the same to say.

        Raises:
            ConfigurationError: a variable is unknown or not allowed; the message names it.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value.strip()
            for name, value in environment.items()
            if name.startswith(PREFIX) and value.strip()
        }
        unknown = given.keys() - {"webhook", "mail", "from", "smtp", "user", "password", "after"}
        if unknown:
            raise ConfigurationError(f"there is no variable {PREFIX}{min(unknown).upper()}; the README lists them")
        webhook, mail = _webhook(given.get("webhook", "")), _mail(given)
        after = _seconds(given.get("after", str(AFTER)))
        if (not webhook and mail is None) or environment.get("SWARM_RANK", "0") not in {"", "0"}:
            return None
        return cls(webhook, mail, after)


def _webhook(text: str) -> str:
    if not text:
        return ""
    if not text.isascii():
        raise ConfigurationError(
            f"{PREFIX}WEBHOOK has a character that no web address can have: write it percent-encoded, as %C3%A4, "
            "and that of a host as xn--"
        )
    try:
        scheme, host = urlsplit(text).scheme, urlsplit(text).hostname
    except ValueError:  # its text may hold the secret
        scheme, host = "", None
    if not host or not (scheme == "https" or (scheme == "http" and is_loopback(host))):
        raise ConfigurationError(
            f"{PREFIX}WEBHOOK is not allowed: it needs an address that begins with https://, or http:// on this machine"
        )
    return text


def _mail(given: Mapping[str, str]) -> Mail | None:
    if "mail" not in given:
        return None
    missing = [name for name in ("from", "smtp") if name not in given]
    if missing:
        raise ConfigurationError(f"{PREFIX}MAIL needs {PREFIX}{missing[0].upper()} too")
    if any(character in given[name] for name in ("mail", "from") for character in "\r\n"):
        raise ConfigurationError(f"{PREFIX}MAIL and {PREFIX}FROM are addresses on one line")
    for name in ("user", "password"):
        if not given.get(name, "").isascii():
            raise ConfigurationError(
                f"{PREFIX}{name.upper()} has a character that is not ASCII, which Python cannot send to a mail server: "
                "use an account without one"
            )
    try:
        server = Address.reachable(given["smtp"])
    except AddressError as error:
        raise ConfigurationError(f"{PREFIX}SMTP={given['smtp']!r}: {error}") from error
    return Mail(given["mail"], given["from"], server, given.get("user", ""), given.get("password", ""))


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 10**9:
        raise ConfigurationError(f"{PREFIX}AFTER={text!r} is not allowed: it is a number of seconds")
    return found
