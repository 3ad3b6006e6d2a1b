"""Which calls are served: those of callers that are trusted and have not too many open."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from swarm.errors import ExchangeError, LimitError, UntrustedPeerError
from swarm.transport.grpc.quotas import OF_A_PEER, OF_AN_ADDRESS, CallLimits
from swarm.transport.grpc.security import AnswerContext, Caller, ConnectedCaller, place_of
from swarm.transport.grpc.status import MAX_DETAILS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarm.clock import Clock
    from swarm.identity import Identity
    from swarm.transport.grpc.quotas import OpenCall
    from swarm.transport.grpc.security import Context
    from swarm.transport.grpc.strangers import Strangers
    from swarm.transport.notices import Notices

_log = logging.getLogger("swarm.transport")


class Admission:
    """Lets calls in, and turns what their handlers raise into the status of the call.

    Args:
        identity: of this peer; None: a caller is an address.
        clock: for streams that send nothing.
        notices: for the log; a refused caller is told of there.
    """

    def __init__(self, identity: Identity | None, clock: Clock, notices: Notices) -> None:
        self._identity = identity
        self._limits = CallLimits(OF_A_PEER if identity else OF_AN_ADDRESS, clock)
        self._notices = notices
        self.strangers: Strangers | None = None
        """Is told who calls."""

    @contextmanager
    def to(self, method: str, context: Context) -> Iterator[tuple[Caller, OpenCall]]:
        """Serve a call of ``method`` inside."""
        host = who = self._host(context)
        try:
            caller = self._caller(context)
            who = caller.name
            with self._limits.admitted(who, method, context.cancel) as call:
                yield caller, call
        except UntrustedPeerError as error:
            self._refuse(context, grpc.StatusCode.PERMISSION_DENIED, who, host, error)
        except LimitError as error:
            self._refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, who, host, error)
        except ExchangeError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error)[:MAX_DETAILS])
        except Exception:  # noqa: BLE001 - told to the caller as a status
            _log.exception("a call of another peer could not be served")
            context.abort(grpc.StatusCode.INTERNAL, "an unexpected error")

    def _host(self, context: Context) -> str:
        if isinstance(context, AnswerContext):
            return context.address.host
        host, port = place_of(context)
        if self.strangers is not None:
            self.strangers.called(host, port)
        return host

    def _caller(self, context: Context) -> Caller:
        if isinstance(context, AnswerContext):
            return ConnectedCaller(context.address, self._identity)
        return Caller(context, self._identity)

    def _refuse(self, context: Context, code: grpc.StatusCode, who: str, host: str, error: Exception) -> None:
        self._notices.warn(who, f"a call from {who if who == host else f'{who} ({host})'} is refused: {error}")
        context.abort(code, str(error)[:MAX_DETAILS])
