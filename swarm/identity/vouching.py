"""Binds the key with which a process signs to the certificate of its peer."""

from __future__ import annotations

import base64
import binascii

from cryptography import x509

from swarm.errors import IdentityError, UntrustedPeerError
from swarm.identity import certificates
from swarm.identity.certificates import Certificate
from swarm.identity.identity import Identity
from swarm.records import Credential, PeerId


def credential(identity: Identity | None, peer: PeerId, key: str, statement: bytes) -> Credential:
    """The credential of this peer's ``key``; without an identity, the key alone.

    Args:
        identity: of this peer.
        peer: its name.
        key: the public key.
        statement: says whose key it is, in which session.
    """
    if identity is None:
        return Credential(peer, key)
    own = identity.credentials
    proof = certificates.sign(certificates.load_key(own.key), statement)
    return Credential(peer, key, base64.b64encode(own.chain).decode(), base64.b64encode(proof).decode())


def doubt(identity: Identity | None, given: Credential, statement: bytes, *, current: bool) -> str:
    """Why ``given`` is not the credential of its peer; empty if it is, and without an identity.

    Args:
        identity: of this peer, which tells whom it trusts.
        given: the credential.
        statement: what its proof has to sign.
        current: whether the certificate has to be valid now. One in an old record may have expired or been revoked
            since: what was signed then stands.
    """
    if identity is None:
        return ""
    reason = doubt_of_authority(identity.credentials.authority, given, statement)
    if not reason and current:
        try:
            identity.trust(base64.b64decode(given.certificate))
        except UntrustedPeerError as error:
            return str(error)
    return reason


def doubt_of_authority(authority: bytes, given: Credential, statement: bytes) -> str:
    """Why ``given`` is not the credential of its peer, whose certificate ``authority`` has issued; empty if it is.

    Args:
        authority: its certificate, PEM; of several, any.
        given: the credential.
        statement: what its proof has to sign.
    """
    if not given.certificate:
        return "it has no certificate of the authority"
    try:
        chain, proof = (base64.b64decode(text, validate=True) for text in (given.certificate, given.proof))
        certificate = Certificate.read(chain)
        between = certificates.path(chain, authority)[1:-1]
        if not all(_may_issue(each, below) for below, each in enumerate(between)):
            return "its certificate was issued by one that may issue none"
        if certificate.name != given.peer:
            return f"the certificate is that of {certificate.name}"
        if not certificates.signed_by(chain, statement, proof):
            return "it is not signed with the key of the certificate"
    except IdentityError as error:
        return str(error)
    except (*certificates.UNREADABLE, binascii.Error):
        return "it has no certificate of the authority"
    return ""


def _may_issue(certificate: x509.Certificate, below: int) -> bool:
    """Whether it is that of an authority that may have ``below`` others under it: a member's own is not."""
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return limits.ca and (limits.path_length is None or limits.path_length >= below)
