"""Follows the identity while a transport runs: renewed certificates, and newer documents of the consortium."""

from __future__ import annotations

import logging
import random
import threading
from functools import partial
from typing import TYPE_CHECKING

from swarm.errors import IdentityError, UntrustedPeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarm.identity import Identity
    from swarm.transport.grpc.link import Link
    from swarm.transport.grpc.strangers import Strangers
    from swarm.transport.notices import Notices

LOOK_SECONDS = 1.0
"""Between two looks at the files."""
ASKED = 3
"""Peers that are asked for a newer document at each look: a change reaches all in a few seconds, whatever their
number."""

_log = logging.getLogger("swarm.transport")


class TrustWatch:
    """Looks now and then, on a thread of its own, and ends links to peers that are no members any more.

    Args:
        identity: of this peer.
        links: those that are open.
        strangers: who connects and shows no certificate; looked for as well.
        notices: for the log, about documents that are not used.
    """

    def __init__(
        self, identity: Identity, links: Callable[[], Sequence[Link]], strangers: Strangers, notices: Notices
    ) -> None:
        self._identity = identity
        self._notices = notices
        self._links = links
        self._strangers = strangers
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="swarm-trust", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception:  # noqa: BLE001 - the next look must still be made
                _log.exception("the identity in %s could not be followed", self._identity.directory)

    def _look(self) -> None:
        self._strangers.look()
        self._identity.refresh()
        links = self._links()
        for link in links:
            try:
                if link.name:
                    self._identity.require_member(link.name)
            except UntrustedPeerError as error:
                link.end(str(error))
        document = self._identity.document
        if document is not None:
            for link in random.sample(links, min(ASKED, len(links))):
                link.ask_consortium(document.version, partial(self._adopt, link))

    def _adopt(self, link: Link, data: bytes) -> None:
        try:
            self._identity.adopt(data)
        except IdentityError as error:
            self._notices.warn(link.address, f"the consortium's document that {link.address} sent is not used: {error}")
