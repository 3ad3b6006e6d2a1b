"""Follows the identity while a transport runs: renewed certificates, and newer documents of the consortium."""

from __future__ import annotations

import logging
import random
import threading
import time
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
"""Peers that are asked for a newer document at each look: a change reaches those that were not told of it in a few
seconds, whatever their number."""
TELL_SECONDS = 1.0
"""For which a newer document in the files is not used before the others have it: a peer that it revokes could otherwise
tell those who do not know of that yet that rounds fail because of this one."""

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
        self._told = 0
        """The version of the last document that the others were told of."""
        self._stopped = False
        self._woken = threading.Event()
        threading.Thread(target=self._run, name="swarm-trust", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._woken.set()

    def adopt(self, sender: str, data: bytes) -> None:
        """Use a document of the consortium that ``sender`` has given, if it is newer; any thread may call this."""
        try:
            if self._identity.adopt(data):
                self._woken.set()  # links may have to end
        except IdentityError as error:
            self._notices.warn(sender, f"the consortium's document that {sender} sent is not used: {error}")

    def _run(self) -> None:
        while True:
            self._woken.wait(LOOK_SECONDS)
            if self._stopped:
                return
            self._woken.clear()
            try:
                self._look()
            except Exception:  # noqa: BLE001 - the next look must still be made
                _log.exception("the identity in %s could not be followed", self._identity.directory)

    def _look(self) -> None:
        self._strangers.look()
        self._tell()
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
                link.ask_consortium(document.version, partial(self.adopt, link.address))

    def _tell(self) -> None:
        """Give the others a newer document that is in the files, and wait a little until they have it."""
        unread = self._identity.unread()
        if unread is None or unread[0] <= self._told:
            return
        self._told, document = unread
        links, ended = self._links(), threading.Semaphore(0)
        for link in links:
            link.tell_consortium(self._told, document, ended.release)
        deadline = time.monotonic() + TELL_SECONDS
        for _ in links:
            ended.acquire(timeout=max(0.0, deadline - time.monotonic()))
