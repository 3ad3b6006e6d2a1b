"""The head of a ledger in a file beside it, signed with the key of the process that has written it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from swarm.certification import encoding
from swarm.certification.statements import head_statement
from swarm.errors import LedgerError
from swarm.records import LEFT_OUT, Credential, PeerId
from swarm.storage.files import replace_file
from swarm.storage.ledger.base import FORMAT, Head, first_link

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.certification.keys import Signer

HEAD = "ledger.head"
"""The name of its file."""
MOST_SETTINGS = 8
"""Runs with settings of their own whose settings a head has, the last one first."""
_MAX_BYTES = 2**21


@dataclass(frozen=True, slots=True)
class SignedHead:
    """How far a peer says that its ledger went."""

    ledger: int
    """``FORMAT``."""
    session: str
    peer: PeerId
    count: int
    link: str
    credential: Credential
    """Of the key. It is in a record too, once the process has taken part in a round."""
    signature: str
    settings: tuple[str, ...] | None = field(default=None, metadata={LEFT_OUT: True})
    """Texts of which a record has the SHA-256 as its ``settings``: what the peers of a run had agreed on."""

    @property
    def head(self) -> Head:
        """What is signed."""
        return Head(self.count, self.link)

    @property
    def statement(self) -> bytes:
        """What the signature is over."""
        return head_statement(self.session, self.peer, self.count, self.link, self.settings or ())


def signed(
    session: str, head: Head | None, signer: Signer, credential: Credential, settings: tuple[str, ...] = ()
) -> SignedHead:
    """The head as its peer, which ``credential`` names, signs it; None: that of an empty ledger."""
    head = head or Head(0, first_link(session, credential.peer))
    made = SignedHead(FORMAT, session, credential.peer, head.count, head.link, credential, "", settings or None)
    return replace(made, signature=signer.sign(made.statement))


def write_head(path: Path, head: SignedHead) -> None:
    """Replace the file of a head in one step.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(path, encoding.encode(head))


def decode_head(data: bytes) -> SignedHead:
    """The head in ``data``.

    Raises:
        LedgerError: there is none, or one of another version.
    """
    try:
        found = encoding.decode(SignedHead, data)
    except ValueError as error:
        raise LedgerError(str(error), damaged=True) from error
    if found.ledger != FORMAT:
        raise LedgerError("it is of another version of Swarm", damaged=True)
    return found


def read_head(path: Path) -> SignedHead | None:
    """The head in a file; None if the file is not there.

    Raises:
        LedgerError: it cannot be read, or is damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(str(error)) from error
    return decode_head(data)


encoding.require_limits(SignedHead)
