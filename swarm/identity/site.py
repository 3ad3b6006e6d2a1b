"""The site's side: makes keys, which never leave, and installs certificates once they are verified.

A key whose certificate has not come yet waits in a directory of its own beside that of the identity, so that an
identity is complete or absent, and asking again means asking for the same key.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from swarm.addresses import Address
from swarm.errors import IdentityError
from swarm.identity import certificates, consortium, files
from swarm.identity.authority import Authority
from swarm.identity.certificates import SKEW, Certificate, Key, checked_name
from swarm.identity.directories import new_directory, partial_directory, refuse_existing
from swarm.identity.enrolment import Enrolment, Renewal, Reply
from swarm.identity.identity import Identity
from swarm.identity.invitation import MAX_ADDRESSES, Invitation
from swarm.text import printable

INVITED, RENEWING, ELSEWHERE = "an invitation", "a renewal", "another public-key infrastructure"
"""What a key waits for."""

_KEY = "key.pem"
_WAITING = "waiting.json"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A key whose certificate has not come yet."""

    purpose: str
    name: str
    pin: str
    """SHA-256 of the authority's certificate, as hex digits; empty with another public-key infrastructure."""
    addresses: tuple[str, ...] = ()
    """Where the enrolment is."""
    invitation: str = ""
    """The number of the invitation."""


@dataclass(frozen=True, slots=True)
class Site:
    """The identity of one site, which may not be there yet.

    Args:
        directory: of the identity.
        now: the time, in UTC.
    """

    directory: Path
    now: Callable[[], datetime] = _now

    @property
    def waiting_directory(self) -> Path:
        """Where a key waits for its certificate."""
        return self.directory.with_name(f"{self.directory.name}.waiting")

    @property
    def waiting(self) -> Waiting:
        """What the key waits for.

        Raises:
            IdentityError: there is none, or it is damaged.
        """
        path = self.waiting_directory / _WAITING
        if not self.waiting_directory.exists():
            raise IdentityError(f"nothing was asked for here: there is no {self.waiting_directory}")
        try:
            row = json.loads(files.read(path))
            addresses = tuple(map(str, row["addresses"]))
            return Waiting(row["purpose"], checked_name(row["name"]), row["pin"], addresses, row["invitation"])
        except (ValueError, TypeError, KeyError) as error:
            raise IdentityError(f"{path} is damaged ({printable(str(error), 100)}): remove its directory") from error

    def found(self, by: Authority, address: str) -> Identity:
        """The identity of the founder, at the site of a new authority.

        Args:
            by: the authority.
            address: ``host:port`` at which others reach the peer.

        Raises:
            IdentityError: there is an identity already, or the address is none.
        """
        refuse_existing(self.directory, "an identity")
        return self._found(by, address, INVITED)

    def found_again(self, by: Authority, address: str = "") -> Identity:
        """Another identity of the founder, where its own has expired, is revoked or is not there.

        All certificates of before are revoked. The authority's key proves who asks.

        Args:
            by: the authority.
            address: a new ``host:port`` of the peer; empty where it stays.

        Raises:
            IdentityError: the own one can be renewed, is of somebody else, or is in another directory.
        """
        name, there = by.register.founder, Path(by.register.identity)
        if not os.path.lexists(self.directory):
            if os.path.lexists(there):
                raise IdentityError(
                    f"there is no {self.directory}, and the identity of {name} is in {there}: give --identity {there}, "
                    "or move that away if it is to be replaced"
                )
        elif not self.founded(by) or self.counts(by):
            raise IdentityError(f"{self.directory} holds an identity that counts: renew it, or move it away")
        member = by.document.member(name)
        address = address or (member.address if member else "")
        if not address:
            raise IdentityError(f"it is not known where others reach the peer of {name}: give --listen HOST:PORT")
        if self.waiting_directory.exists() and self.waiting.pin == by.pin.hex():
            shutil.rmtree(self.waiting_directory)  # of a renewal that was not completed
        return self._found(by, address, RENEWING if self.directory.exists() else INVITED)

    def founded(self, by: Authority) -> bool:
        """Whether this is the identity of the founder whose authority is ``by``.

        Raises:
            IdentityError: it is where that should be, and cannot be read.
        """
        try:
            own, authority = self._own, files.read(self.directory / files.AUTHORITY)
        except IdentityError as error:
            if self.directory.absolute() != Path(by.register.identity):
                raise
            raise IdentityError(
                f"{error}. If it cannot be repaired, move {self.directory} away: `swarm renew` then makes another"
            ) from error
        return (own.name, authority) == (by.register.founder, by.pem)

    def counts(self, by: Authority) -> bool:
        """Whether there is a certificate that has neither expired nor is revoked by its authority ``by``.

        Raises:
            IdentityError: it cannot be read.
        """
        if not os.path.lexists(self.directory):
            return False
        return not self._expired and by.document.revocation(self._own.serial) is None

    def _found(self, by: Authority, address: str, purpose: str) -> Identity:
        Address.reachable(address)
        kept = by.register
        key = self._wait(Waiting(purpose, kept.founder, by.pin.hex(), (kept.address,)))
        return self.accept(by.add_founder(certificates.request(key, kept.founder), address, self.directory))

    def refuse_expired(self, invitation: Invitation) -> None:
        """Refuse an invitation that no founder accepts any more, whatever the clocks of the two sites say.

        Raises:
            IdentityError: it has expired.
        """
        if self.now() >= invitation.expires + SKEW:
            raise IdentityError(
                f"the invitation for {invitation.name} has expired on {invitation.expires:%Y-%m-%d %H:%M UTC}: ask for "
                "another"
            )

    def enrolment(self, invitation: Invitation, address: str) -> bytes:
        """A request for a first certificate.

        Args:
            invitation: to the consortium.
            address: ``host:port`` at which others reach the peer.

        Raises:
            IdentityError: there is an identity already, the invitation has expired, or the address is none.
        """
        refuse_existing(self.directory, "an identity")
        self.refuse_expired(invitation)
        Address.reachable(address)
        pin = invitation.pin.hex()
        key = self._wait(Waiting(INVITED, invitation.name, pin, invitation.addresses, invitation.number))
        request = certificates.request(key, invitation.name)
        made = Enrolment.made(
            invitation.key, invitation=invitation.number, name=invitation.name, request=request, address=address
        )
        return made.encoded()

    def renewal(self, address: str = "") -> bytes:
        """A request for a certificate of a new key, proved with the current one.

        Args:
            address: a new ``host:port`` of the peer; empty where it stays.

        Raises:
            IdentityError: there is no identity that can be used, or it is not one of a consortium.
        """
        self._require_proof()
        identity = Identity(self.directory, self.now)
        if identity.document is None:
            raise IdentityError(
                f"the certificate in {self.directory} comes from another public-key infrastructure: renew it there, "
                f"and put the new key and certificate into {self.directory / files.IDENTITY}"
            )
        key = self._wait(Waiting(RENEWING, identity.name, self.pin.hex(), tuple(self.addresses)))
        current = certificates.load_key(identity.credentials.key)
        request = certificates.request(key, identity.name)
        pem = identity.certificate.pem
        return Renewal.made(current, certificate=pem, request=request, address=address).encoded()

    def certificate_request(self, name: str) -> bytes:
        """A request (PKCS #10, PEM) for another public-key infrastructure.

        Raises:
            IdentityError: there is an identity already, or the name is not allowed.
        """
        refuse_existing(self.directory, "an identity")
        return certificates.request(self._wait(Waiting(ELSEWHERE, checked_name(name), "")), name)

    @property
    def pin(self) -> bytes:
        """SHA-256 of the certificate of the identity's authority."""
        return certificates.load(files.read(self.directory / files.AUTHORITY)).fingerprint(hashes.SHA256())

    @property
    def addresses(self) -> Sequence[str]:
        """Where the enrolment of the consortium was when this site joined; may be empty."""
        path = self.directory / files.ENROLMENT
        if not path.exists():
            return ()
        try:
            found = json.loads(files.read(path))["addresses"]
            return [str(Address.reachable(str(each))) for each in found[:MAX_ADDRESSES]]
        except (ValueError, TypeError, KeyError) as error:
            raise IdentityError(f"{path} is damaged: remove it, and give the address with --at") from error

    def accept(self, reply: Reply) -> Identity:
        """Install what the authority has sent, completely or not at all.

        Raises:
            IdentityError: it is not what was asked for; nothing has changed.
        """
        waiting, key = self.waiting, self._waiting_key()
        if waiting.purpose == ELSEWHERE:
            raise IdentityError(
                f"the key in {self.waiting_directory} waits for a certificate of another public-key infrastructure: "
                "install it with --certificate and --authority"
            )
        renewed = waiting.purpose == RENEWING
        if not renewed:
            refuse_existing(self.directory, "an identity")
        if certificates.load(reply.authority).fingerprint(hashes.SHA256()).hex() != waiting.pin:
            raise IdentityError(
                f"the reply is of another authority than {waiting.purpose} is for: nothing was installed"
            )
        document = consortium.verified(reply.document, reply.authority)
        if document.member(waiting.name) is None:
            raise IdentityError(
                f"{waiting.name} is not a member of consortium {document.name}: it was revoked meanwhile"
            )
        make = partial_directory if renewed else new_directory
        with make(self.directory) as made:
            _write(made, key, waiting.name, reply.certificate, reply.authority)
            files.write(made / files.CONSORTIUM, reply.document)
            files.write(made / files.ENROLMENT, json.dumps({"addresses": waiting.addresses}).encode() + b"\n")
            Identity(made, self.now, usable=False).require_usable()
            if renewed:
                files.write(self.directory / files.IDENTITY, files.read(made / files.IDENTITY), files.PRIVATE)
        shutil.rmtree(self.waiting_directory, ignore_errors=True)
        identity = Identity(self.directory, self.now)
        identity.adopt(reply.document)
        return identity

    def install(
        self, certificate: bytes, authority: bytes, *, key: bytes | None = None, revoked: bytes = b""
    ) -> Identity:
        """Install a certificate of another public-key infrastructure, completely or not at all.

        Args:
            certificate: in PEM, with those between it and the authority's.
            authority: the certificate of the authority, in PEM; of several, each is trusted.
            key: in PEM; None: the one that waits.
            revoked: lists of revoked certificates (CRL), in PEM.

        Raises:
            IdentityError: there is an identity already, or these do not belong together.
        """
        refuse_existing(self.directory, "an identity")
        mine = certificates.load_key(key) if key is not None else self._waiting_key()
        name = Certificate.read(certificate).name
        with new_directory(self.directory) as made:
            _write(made, mine, name, certificate, authority)
            if revoked:
                files.write(made / files.REVOKED, revoked)
            Identity(made, self.now, usable=False).require_usable()
        if key is None:
            shutil.rmtree(self.waiting_directory, ignore_errors=True)
        return Identity(self.directory, self.now)

    @property
    def _own(self) -> Certificate:
        return Certificate.read(files.read_private(self.directory / files.IDENTITY))

    @property
    def _expired(self) -> bool:
        return self.now() >= self._own.not_after

    def _require_proof(self) -> None:
        founder = "At the founder of a consortium, type `swarm renew` where its swarm-consortium is, without --request"
        if not os.path.lexists(self.directory):
            raise IdentityError(
                f"there is no {self.directory}, so that nothing proves who asks for another certificate: ask for an "
                f"invitation (`swarm invite NAME --again`), and join again. {founder}"
            )
        own = self._own
        if self._expired:
            raise IdentityError(
                f"the certificate of {own.name} has expired on {own.not_after:%Y-%m-%d %H:%M UTC}, so that it proves "
                f"nothing: ask for an invitation (`swarm invite {own.name} --again`), move {self.directory} away, and "
                f"join again. {founder}"
            )

    def _wait(self, waiting: Waiting) -> Key:
        """The key that waits for this, made if there is none yet."""
        if self.waiting_directory.exists():
            found = self.waiting
            if found == waiting:
                return self._waiting_key()
            if found.purpose != waiting.purpose:
                raise IdentityError(
                    f"the key in {self.waiting_directory} waits for {found.purpose}: complete that first, or remove "
                    "the directory"
                )
            shutil.rmtree(self.waiting_directory)
        key = certificates.new_key()
        with new_directory(self.waiting_directory) as made:
            files.write(made / _KEY, certificates.key_pem(key), files.PRIVATE)
            files.write(made / _WAITING, json.dumps(asdict(waiting), indent=1).encode() + b"\n")
        return key

    def _waiting_key(self) -> Key:
        _ = self.waiting
        return certificates.load_key(files.read_private(self.waiting_directory / _KEY))


def _write(directory: Path, key: Key, name: str, chain: bytes, authority: bytes) -> None:
    """The files of an identity, after a check that the certificate is for this key and name."""
    own = Certificate.read(chain)
    if own.name != name:
        raise IdentityError(f"the certificate is for {own.name}, not for {name}: nothing was installed")
    if certificates.load(chain).public_key() != key.public_key():
        raise IdentityError(f"the certificate of {name} is for another key than this site's: nothing was installed")
    files.write(directory / files.IDENTITY, certificates.key_pem(key) + chain, files.PRIVATE)
    files.write(directory / files.AUTHORITY, authority)
