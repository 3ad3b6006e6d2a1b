"""The identity of this peer while it runs: its credentials, and whom it trusts. Follows its files as they change."""

from __future__ import annotations

import logging
import ssl
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from swarm.errors import IdentityError, UntrustedPeerError
from swarm.identity import consortium, files, stored
from swarm.identity.certificates import Certificate
from swarm.identity.consortium import Consortium, Member, Role
from swarm.identity.stored import Credentials, Stored

NOTICE = timedelta(days=14)
"""Before its certificate, or an authority, ends a peer says so, once a day."""
SOON = timedelta(minutes=1)
"""Before its certificate expires a peer takes it that others, by their clocks, do not admit it any more."""
MAX_CACHED = 1024
"""Certificates of others that were read."""


class Concern(NamedTuple):
    """What the operator of a site has to do soon about its identity."""

    about: str
    text: str
    action: str


class Identity:
    """Reads a directory that ``swarm join`` has made.

    Safe for any thread.

    Args:
        directory: with the files of :mod:`swarm.identity.files`.
        now: the time, in UTC.
        logger: is told what changes.
        usable: whether to refuse a certificate that nobody would accept now.

    Raises:
        IdentityError: a file is missing or damaged, others can read the private key, the certificate has expired, is
            not valid yet, or is not one of the authority's.
    """

    def __init__(
        self,
        directory: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        logger: logging.Logger | None = None,
        *,
        usable: bool = True,
    ) -> None:
        self.directory = directory
        self._now = now
        self._log = logger or logging.getLogger("swarm.identity")
        self._lock = threading.Lock()
        self._read: dict[bytes, Certificate] = {}
        self._noticed: dict[str, datetime] = {}
        """When each concern was told last."""
        self._complaint = ""
        self._state = stored.read(self.directory)
        if usable:
            self.require_usable()
            self._tell_concerns()

    @property
    def name(self) -> str:
        """The peer's name, which its certificate states."""
        return self._state.own.name

    @property
    def certificate(self) -> Certificate:
        """This peer's own; another object once it was renewed."""
        return self._state.own

    @property
    def credentials(self) -> Credentials:
        """For a transport; another object once they have changed."""
        return self._state.credentials

    @property
    def document(self) -> Consortium | None:
        """The newest document of the consortium; None with another public-key infrastructure."""
        return self._state.document

    @property
    def document_bytes(self) -> bytes:
        """The document as others verify it; empty if there is none."""
        return self._state.document_bytes

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of all members that train, as far as the consortium knows them, each with its name."""
        members = self._state.document.members if self._state.document else ()
        return tuple(f"{each.name}@{each.address}" for each in members if each.address and each.role is Role.TRAINER)

    @property
    def trainers(self) -> frozenset[str] | None:
        """Names of all members that train; None with another public-key infrastructure."""
        document = self._state.document
        return None if document is None else frozenset(m.name for m in document.members if m.role is Role.TRAINER)

    @property
    def others(self) -> tuple[str, ...]:
        """The addresses of the others."""
        own = f"{self.name}@"
        return tuple(address for address in self.addresses if not address.startswith(own))

    @property
    def server_context(self) -> ssl.SSLContext:
        """For connections that come in."""
        return self._state.server

    @property
    def client_context(self) -> ssl.SSLContext:
        """For connections to others; whose certificate it is, ``trust`` tells."""
        return self._state.client

    def make_client_context(self) -> ssl.SSLContext:
        """A context like ``client_context``, for a caller that changes it."""
        return stored.context(ssl.PROTOCOL_TLS_CLIENT, self.directory, self._state.credentials)

    def trust(self, pem: bytes) -> Certificate:
        """Whose certificate this is; the authority's signature was checked by TLS.

        Args:
            pem: the certificate that the other side has shown, in PEM or DER.

        Raises:
            UntrustedPeerError: it is revoked or expired, or its name is not a member's.
        """
        certificate = self._read.get(pem)
        if certificate is None:
            try:
                certificate = Certificate.read(pem)
            except IdentityError as error:
                raise UntrustedPeerError(str(error)) from error
            if len(self._read) >= MAX_CACHED:
                self._read.clear()
            self._read[pem] = certificate
        self._require_valid(certificate)
        return certificate

    def member(self, name: str) -> Member:
        """What the consortium grants to ``name``; with another public-key infrastructure everything."""
        document = self._state.document
        return (document.member(name) if document else None) or Member(name)

    def require_member(self, name: str) -> None:
        """Refuse a name that no certificate could prove.

        Raises:
            UntrustedPeerError: it is not a member's.
        """
        document = self._state.document
        if document is not None and document.member(name) is None:
            raise UntrustedPeerError(f"{name} is not a member of consortium {document.name}")

    def refresh(self) -> bool:
        """Read the files again if they have changed; whether they had.

        What cannot be read is reported once, and what was read before stays in use.
        """
        with self._lock:
            self._tell_concerns()
            if stored.stamp(self.directory) == self._state.seen:
                return False
            try:
                state = self._load_again()
            except IdentityError as error:
                if self._complaint != str(error):
                    self._complaint = str(error)
                    self._log.warning("the changed identity in %s is not used: %s", self.directory, error)
                return False
            self._tell_changes(self._state, state)
            self._complaint = ""
            self._state = state
            self._tell_concerns()
            return True

    def unread(self) -> tuple[int, bytes] | None:
        """Version and bytes of the document in its file, where that is newer than the one in use, which stays so."""
        with self._lock:
            own = self._state.document
            if own is None or stored.stamp(self.directory) == self._state.seen:
                return None
            try:
                data = files.read(self.directory / files.CONSORTIUM)
                found = consortium.verified(data, self._state.credentials.authority)
            except IdentityError:  # ``refresh`` reports it
                return None
        return (found.version, data) if found.version > own.version else None

    def adopt(self, data: bytes) -> bool:
        """Keep the consortium's document that another member has sent; whether it is newer than the own one.

        Raises:
            IdentityError: it is damaged or of another authority, or it cannot be written.
        """
        self.refresh()  # another process may have written a newer one
        with self._lock:
            own = self._state.document
            if own is None:
                return False
            theirs = consortium.verified(data, self._state.credentials.authority)
            if theirs.version <= own.version:
                return False
            files.write(self.directory / files.CONSORTIUM, data)
        self.refresh()
        return True

    @property
    def unusable(self) -> tuple[str, str] | None:
        """Why nobody would accept its certificate now, and what to do; None where it counts."""
        own, now = self._state.own, self._now()
        which = f"the certificate of {own.name} in {self.directory}"
        if now >= own.not_after:
            action = (
                f"have another issued (in a consortium: `swarm invite {own.name} --again`, then `swarm join`; at its "
                "founder: `swarm renew`)"
            )
            return f"{which} has expired on {_day(own.not_after)}", action
        ended = next((each for each in self._state.issuers if each.leads and now >= each.until), None)
        if ended is not None:
            return f"{which} comes from authority {ended.name}, which has ended on {_day(ended.until)}", self._successor
        if now < own.not_before:
            return (
                f"{which} is valid from {_day(own.not_before)} on, and the clock of this machine says {_day(now)}",
                "set the clock (NTP: `timedatectl set-ntp true`)",
            )
        return None

    def require_usable(self) -> None:
        """Refuse to start with a certificate that nobody would accept.

        Raises:
            IdentityError: it has expired, or is not valid yet.
        """
        if self.unusable is not None:
            raise IdentityError(": ".join(self.unusable))

    @property
    def refusal(self) -> str:
        """Why others do not admit this peer any more, or may not at any moment; empty where they do."""
        own = self._state.own
        try:
            self._require_valid(own)
        except UntrustedPeerError as error:
            return str(error)
        until = self._state.until
        return f"the certificate of {own.name} ends {_day(until)}" if until - self._now() < SOON else ""

    @property
    def expires_soon(self) -> bool:
        """Whether the certificate is to be renewed, or that of an authority that it comes from."""
        return self._state.until - self._now() < NOTICE

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """What has to be done soon."""
        found, now, state = [], self._now(), self._state
        if state.own.not_after - now < NOTICE:
            text = f"the certificate of {self.name} expires on {_day(state.own.not_after)}"
            found.append(Concern("certificate", text, "renew it (`swarm renew`)"))
        for each in state.issuers:
            if not each.leads and now >= each.until:
                action = f"take it out of {self.directory / files.AUTHORITY}"
                found.append(Concern("authority", f"authority {each.name} has ended on {_day(each.until)}", action))
            elif each.until - now < NOTICE:
                text = f"authority {each.name} ends on {_day(each.until)}, and so do all certificates that come from it"
                found.append(Concern("authority", text, self._successor))
        if state.revoked.until is not None and now >= state.revoked.until:
            file = self.directory / files.REVOKED
            text = (
                f"the list of revoked certificates in {file} was to be replaced by {_day(state.revoked.until)}, and "
                "whoever was revoked since is still let in"
            )
            found.append(Concern("revoked.pem", text, "get the newest from your authority, and replace the file"))
        return tuple(found)

    @property
    def _successor(self) -> str:
        """What to do where an authority ends."""
        if self._state.document is not None:
            return "found another consortium, which all join (`swarm init`; `swarm identities` for peers of one owner)"
        return (
            f"add the certificate of its successor to {self.directory / files.AUTHORITY} at all sites, and have the "
            "certificates of all sites issued by that"
        )

    def _require_valid(self, certificate: Certificate) -> None:
        now, state = self._now(), self._state
        if not certificate.not_before <= now < certificate.not_after:
            raise UntrustedPeerError(
                f"the certificate of {certificate.name} is valid from {_day(certificate.not_before)} to "
                f"{_day(certificate.not_after)} only: renew it (`swarm renew`)"
            )
        if state.revoked.have(certificate):
            raise UntrustedPeerError(f"the certificate of {certificate.name} is revoked")
        if state.document is None:
            return
        revocation = state.document.revocation(certificate.serial)
        if revocation is not None:
            raise UntrustedPeerError(f"the certificate of {certificate.name} was revoked on {revocation.time[:10]}")
        self.require_member(certificate.name)

    def _load_again(self) -> Stored:
        """What the files hold now; an older document than that in use, or none, is replaced by it."""
        before, state = self._state, stored.read(self.directory)
        own, found = before.document, state.document
        same = state.credentials.authority == before.credentials.authority
        if same and own is not None and (found is None or found.version < own.version):
            self._log.warning(
                "consortium %s: its document in %s was %s; version %d, which is in use, is put back",
                own.name,
                self.directory,
                "removed" if found is None else f"replaced by version {found.version}",
                own.version,
            )
            files.write(self.directory / files.CONSORTIUM, before.document_bytes)
            state = stored.read(self.directory)
        if state.credentials == before.credentials:
            return replace(state, credentials=before.credentials)
        return state

    def _tell_changes(self, before: Stored, after: Stored) -> None:
        if before.own.fingerprint != after.own.fingerprint:
            self._log.info("the certificate of %s is renewed, until %s", after.own.name, _day(after.own.not_after))
        old, new = before.document, after.document
        if old and new and old.version != new.version:
            self._log.info("consortium %s: version %d of its document", new.name, new.version)
            for revoked in set(new.revoked) - set(old.revoked):
                self._log.warning("consortium %s: a certificate of %s was revoked", new.name, revoked.name)

    def _tell_concerns(self) -> None:
        now = self._now()
        for concern in self.concerns:
            told = self._noticed.get(concern.text)
            if told is None or now - told >= timedelta(days=1):
                self._noticed[concern.text] = now
                self._log.warning("%s: %s", concern.text, concern.action)


_in_use: weakref.WeakValueDictionary[Path, Identity] = weakref.WeakValueDictionary()
_taking = threading.Lock()


def identity_at(directory: Path, *, usable: bool = True) -> Identity:
    """The identity in ``directory``: one object for all that use it at the same time in this process.

    Args:
        directory: as of ``Identity``.
        usable: as of ``Identity``.

    Raises:
        IdentityError: as of ``Identity``.
    """
    place = directory.resolve()
    with _taking:
        identity = _in_use.get(place)
        if identity is None:
            identity = _in_use[place] = Identity(directory, usable=usable)
    identity.refresh()
    if usable:
        identity.require_usable()
    return identity


def _day(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
