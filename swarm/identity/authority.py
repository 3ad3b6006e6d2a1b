"""The authority of a consortium: invites sites, issues and revokes certificates, and signs the consortium's document.

It is a directory at the site of the founder, and no service: a command changes it. Several processes may do so at the
same time. Each change is one file that is replaced, so that a crash leaves the state before or after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from swarm.addresses import Address
from swarm.errors import IdentityError
from swarm.identity import certificates, consortium, files
from swarm.identity.certificates import Certificate
from swarm.identity.consortium import Allowed, Consortium, Member, Revoked, Role
from swarm.identity.directories import new_directory, refuse_existing
from swarm.identity.enrolment import Enrolment, Renewal, Reply, read_request
from swarm.identity.invitation import Invitation
from swarm.identity.register import Invited, Issued, Register, iso
from swarm.identity.register_files import Change, RegisterFiles

KEY = "authority.key"
CERTIFICATE = "authority.pem"
AUTHORITY_VALID = timedelta(days=3650)
UNKNOWN = "this invitation is not valid here: unknown, used or expired"
"""All that is told to who does not prove that it was invited."""
NO_MEMBER = "this certificate cannot be renewed here: it is not one of this consortium's members"

MAX_VALID = 16
"""Certificates of a member that are valid at the same time. A member could otherwise renew until the register or the
list of revoked certificates is full, and nobody be revoked any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was made of a request."""

    name: str
    """Of the member."""
    joined: bool
    """Whether it has used an invitation; else it has renewed its certificate."""
    repeated: bool
    """Whether the same request was answered before, in the same way."""
    until: datetime
    """When the certificate ends."""
    reply: Reply


class Authority:
    """Opens the directory that ``swarm init`` has made. Safe for any thread and any number of processes.

    Args:
        directory: of the authority.
        now: the time, in UTC.

    Raises:
        IdentityError: a file is missing or damaged, or others can read the private key.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.directory = directory
        self._now = now
        self._files = RegisterFiles(directory, now, self.hand_to_founder)
        self._key = certificates.load_key(files.read_private(directory / KEY))
        self.pem = files.read(directory / CERTIFICATE)
        self.pin = certificates.load(self.pem).fingerprint(hashes.SHA256())
        _ = self.document

    @classmethod
    def create(
        cls,
        directory: Path,
        name: str,
        *,
        founder: str,
        identity: Path,
        listen: str,
        address: str,
        allowed: Mapping[str, tuple[Allowed, ...]],
        valid_days: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Authority:
        """A new authority, of a consortium without members.

        Args:
            directory: must not exist.
            name: of the consortium.
            founder: the member whose site this is.
            identity: the directory of the founder's identity.
            listen: ``host:port`` that an enrolment listens on.
            address: ``host:port`` at which others reach it.
            allowed: values of settings that members may use.
            valid_days: how long a certificate is valid.
            now: the time, in UTC.

        Raises:
            IdentityError: it is there already, cannot be written, or a name or address is not allowed.
        """
        refuse_existing(directory, "an authority")
        if not 0 < len(name) <= 64 or not name.isprintable():
            raise IdentityError(
                f"{name[:80]!r} cannot be a consortium's name: allowed are 1 to 64 printable characters"
            )
        Address.reachable(address)
        key, today = certificates.new_key(), now()
        document = Consortium(name, 1, iso(today), allowed=allowed).signed(key)
        kept = Register(
            certificates.checked_name(founder), str(identity.absolute()), listen, address, valid_days, document
        )
        with new_directory(directory) as made:
            files.write(made / KEY, certificates.key_pem(key), files.PRIVATE)
            files.write(made / CERTIFICATE, certificates.authority(key, name, today, AUTHORITY_VALID))
            RegisterFiles.create(made, kept)
        return cls(directory, now)

    @property
    def register(self) -> Register:
        """As it is now."""
        return self._files.read()

    @property
    def document(self) -> Consortium:
        """The newest version of the consortium's document."""
        return consortium.verified(self.register.document, self.pem)

    def invite(
        self,
        name: str,
        *,
        weight: int | None = None,
        role: Role | None = None,
        valid: timedelta,
        address: str = "",
        again: bool = False,
    ) -> Invitation:
        """A new invitation; one for the same name that was not used counts no more.

        Args:
            name: of the member.
            weight: the largest ``node_weightage`` that it may use, 0 to 100; None: as the member has it, or 100.
            role: of the member; None: as the member has it, or trainer.
            valid: how long.
            address: ``host:port`` where the enrolment is; empty: that of the register.
            again: whether a member may be invited, which revokes its certificates when it uses the invitation.

        Raises:
            IdentityError: the name is not allowed, or a member's.
        """
        certificates.checked_name(name)
        with self._files.changing() as change:
            kept, now = change.register, self._now()
            if name == kept.founder:
                raise IdentityError(
                    f"{name} is the founder of this consortium: it cannot be invited. If its certificate has expired "
                    f"or its identity is lost, `swarm renew` gives it another, where {self.directory} is"
                )
            member = self.document.member(name)
            if member and not again:
                raise IdentityError(
                    f"{name} is a member already. If it has lost its key or let its certificate expire, give --again: "
                    f"once the invitation is used, the earlier certificates of {name} are revoked"
                )
            made = Invitation.new(name, now + valid, self.pin, [address or kept.address])
            as_before = member or Member(name)
            weight = as_before.weight if weight is None else weight
            invited = Invited(made.number, made.key, name, weight, role or as_before.role, made.expires)
            others = tuple(each for each in kept.invited if each.name != name or each.used)
            change.register = replace(kept, invited=(*others, invited))
        return made

    def add_founder(self, request: bytes, address: str, identity: Path) -> Reply:
        """The first member, whom nobody invites; or another certificate of it, which revokes those of before.

        Args:
            request: for the certificate.
            address: ``host:port`` at which others reach its peer.
            identity: the directory of its identity.

        Raises:
            IdentityError: the request is damaged.
        """
        with self._files.changing() as change:
            name, document = change.register.founder, self.document
            member = document.member(name) or Member(name)
            document = replace(document, revoked=self._revoked(change.register, document, name))
            change.register = replace(change.register, identity=str(identity.absolute()))
            certificate = self._issue(change, name, request)
            self._publish(change, _with(document, replace(member, address=address)))
        return Reply(certificate, self.pem, self.register.document)

    def answer(self, data: bytes) -> Answer:
        """Issue what a request asks for, if it may be.

        The same request gets the same answer, so that a site can ask again if it has not seen the answer.

        Raises:
            IdentityError: it is not to be answered; the reason is for whoever asks.
        """
        asked = read_request(data)
        return self._enrol(asked) if isinstance(asked, Enrolment) else self._renew(asked)

    def revoke(self, name: str) -> int:
        """Remove a member and revoke its certificates; returns how many.

        Raises:
            IdentityError: there is no such member, or it is the founder.
        """
        with self._files.changing() as change:
            kept, document = change.register, self.document
            if name == kept.founder:
                raise IdentityError(
                    f"{name} is the founder, whose site has the authority: it cannot be revoked. If somebody else may "
                    f"have its key, move {kept.identity} away: `swarm renew` then gives it another, and revokes its "
                    "earlier certificates. If somebody else may have the authority's key, found another consortium"
                )
            invited = tuple(each for each in kept.invited if each.name != name)
            if document.member(name) is None and len(invited) == len(kept.invited):
                raise _no_member(name, document)
            change.register = replace(kept, invited=invited)
            revoked = self._revoked(change.register, document, name)
            members = tuple(member for member in document.members if member.name != name)
            self._publish(change, replace(document, members=members, revoked=revoked))
        return len(set(revoked) - set(document.revoked))

    def change(self, name: str, *, weight: int | None = None, role: Role | None = None) -> Member:
        """Change what a member may do, and return what it may do now; None leaves a value as it is.

        Raises:
            IdentityError: there is no such member, or the founder would be an observer.
        """
        with self._files.changing() as change:
            document = self.document
            member = document.member(name)
            if member is None:
                raise _no_member(name, document)
            changed = replace(
                member, weight=member.weight if weight is None else weight, role=member.role if role is None else role
            )
            if name == change.register.founder and changed.role is not Role.TRAINER:
                raise IdentityError(f"{name} is the founder, whose peer hands the document on: it stays a trainer")
            if changed != member:
                self._publish(change, _with(document, changed))
        return changed

    def hand_to_founder(self) -> bool:
        """Copy the document into the identity of the founder, whose peer hands it to others; whether it is there."""
        kept = self.register
        directory = Path(kept.identity)
        try:
            if files.read(directory / files.AUTHORITY) != self.pem:
                return False
            target = directory / files.CONSORTIUM
            if files.read(target) != kept.document:
                files.write(target, kept.document)
        except IdentityError:
            return False
        return True

    def _enrol(self, asked: Enrolment) -> Answer:
        with self._files.changing() as change:
            kept, now = change.register, self._now()
            invited = kept.invitation(asked.invitation)
            if invited is None or not asked.proved(invited.key):
                raise IdentityError(UNKNOWN)
            name = invited.name
            if asked.name != name:
                raise IdentityError(f"the invitation is for {name}, not for {asked.name}")
            of = _key_hash(asked.request)
            if invited.used:
                if invited.used_by != of:
                    raise IdentityError(
                        f"the invitation for {name} was used on {iso(invited.used)}: it holds once. If {name} has "
                        f"not used it, somebody else has: `swarm revoke {name}`"
                    )
                return self._answer(kept, name, of, joined=True, repeated=True)
            if now >= invited.expires:
                raise IdentityError(f"the invitation for {name} has expired on {iso(invited.expires)}: ask for another")
            document = replace(self.document, revoked=self._revoked(kept, self.document, name))
            used = replace(invited, used=now, used_by=of)
            change.register = replace(kept, invited=tuple(used if each == invited else each for each in kept.invited))
            self._issue(change, name, asked.request)
            self._publish(change, _with(document, Member(name, invited.weight, invited.role, asked.address)))
        return self._answer(self.register, name, of, joined=True, repeated=False)

    def _renew(self, asked: Renewal) -> Answer:
        current = self._trusted(asked)
        name, of = current.name, _key_hash(asked.request)
        with self._files.changing() as change:
            document = self.document
            member = document.member(name)
            if document.revocation(current.serial) or member is None:
                raise IdentityError(f"the certificate of {name} is revoked")
            if change.register.certificate_of(name, of):
                return self._answer(change.register, name, of, joined=False, repeated=True)
            self._refuse_many(change.register, document, name)
            self._issue(change, name, asked.request)
            if asked.address and asked.address != member.address:
                self._publish(change, _with(document, replace(member, address=asked.address)))
        return self._answer(self.register, name, of, joined=False, repeated=False)

    def _refuse_many(self, kept: Register, document: Consortium, name: str) -> None:
        now = self._now()
        ends = sorted(
            each.until
            for each in kept.issued
            if each.name == name and now < each.until and not document.revocation(each.serial)
        )
        if len(ends) >= MAX_VALID:
            raise IdentityError(
                f"{name} has {len(ends)} valid certificates, which is the most: it can renew again on "
                f"{iso(ends[0])}, or {self._another(name)}, which revokes them"
            )

    def _another(self, name: str) -> str:
        """How a member whose certificate cannot be renewed gets another."""
        kept = self.register
        if name == kept.founder:
            return f"move {kept.identity} away and type `swarm renew` where {self.directory} is"
        return f"ask for an invitation (`swarm invite {name} --again`)"

    def _trusted(self, asked: Renewal) -> Certificate:
        """The current certificate of who asks for a renewal."""
        try:
            certificates.load(asked.certificate).verify_directly_issued_by(certificates.load(self.pem))
            current = Certificate.read(asked.certificate)
        except (ValueError, TypeError, InvalidSignature, IdentityError) as error:
            raise IdentityError(NO_MEMBER) from error
        if not asked.proved():
            raise IdentityError(NO_MEMBER)
        if self._now() >= current.not_after:
            raise IdentityError(
                f"the certificate of {current.name} has expired on {iso(current.not_after)} and cannot be renewed: "
                f"{self._another(current.name)}"
            )
        return current

    def _answer(self, kept: Register, name: str, of: str, *, joined: bool, repeated: bool) -> Answer:
        issued = kept.certificate_of(name, of)
        if issued is None:
            raise IdentityError(f"the certificate that was issued to {name} has expired")
        reply = Reply(files.read(self._files.certificate(issued.serial)), self.pem, kept.document)
        return Answer(name, joined, repeated, issued.until, reply)

    def _issue(self, change: Change, name: str, request: bytes) -> bytes:
        kept = change.register
        valid = timedelta(days=kept.valid_days)
        pem = certificates.issue(request, name, key=self._key, issuer=self.pem, now=self._now(), valid=valid)
        made = Certificate.read(pem)
        files.write(self._files.certificate(made.serial), pem)
        row = Issued(name, made.serial, made.not_after, _key_hash(request))
        change.register = replace(kept, issued=(*kept.issued, row))
        return pem

    def _publish(self, change: Change, document: Consortium) -> None:
        # The founder's copy is newer where the authority was restored from a backup; members ignore what is older.
        newest = max(self.document.version, self._handed_version())
        newer = replace(document, version=newest + 1, issued=iso(self._now()))
        change.register = replace(change.register, document=newer.signed(self._key))

    def _handed_version(self) -> int:
        try:
            data = files.read(Path(self.register.identity) / files.CONSORTIUM)
            return consortium.verified(data, self.pem).version
        except IdentityError:
            return 0

    def _revoked(self, kept: Register, document: Consortium, name: str) -> tuple[Revoked, ...]:
        """The revocations of a document and those of all certificates of a member, less those that have expired."""
        now = self._now()
        valid = {each.serial for each in kept.issued if now < each.until + certificates.SKEW}
        earlier = tuple(each for each in document.revoked if each.serial in valid)
        new = {each.serial for each in kept.issued if each.name == name} & valid - {each.serial for each in earlier}
        return (*earlier, *(Revoked(name, serial, iso(now)) for serial in sorted(new)))


def _no_member(name: str, document: Consortium) -> IdentityError:
    names = ", ".join(member.name for member in document.members)
    return IdentityError(f"{name[:80]!r} is not a member of consortium {document.name}; members are {names}")


def _with(document: Consortium, member: Member) -> Consortium:
    others = tuple(each for each in document.members if each.name != member.name)
    return replace(document, members=tuple(sorted((*others, member), key=lambda each: each.name)))


def _key_hash(request: bytes) -> str:
    der = certificates.requested_key(request).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()
