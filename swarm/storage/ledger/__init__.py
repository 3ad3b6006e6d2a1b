"""The ledger of a peer: the records of committed rounds that it knows to be true, each with its certificate.

A peer with a model directory keeps them in ``MODEL_DIR/swarm-state/<session>/<peer>/ledger.sqlite``, any other one in
memory (:class:`MemoryLedger`). The rows of the file are a chain: the *link* of a row is a hash over the link before it
and the row. The number of rows and the last link, the *head*, are also kept outside of the database, signed.
:mod:`swarm.storage.ledger.audit` finds what was changed.
"""

from __future__ import annotations

from swarm.storage.ledger.base import Head, Ledger
from swarm.storage.ledger.files import Owner
from swarm.storage.ledger.memory import MemoryLedger
from swarm.storage.ledger.stored import StoredLedger, ledger_of

__all__ = ["Head", "Ledger", "MemoryLedger", "Owner", "StoredLedger", "ledger_of"]
