"""Every error Swarm raises.

SwarmError
├── ConfigurationError        a setting is unknown, out of range or contradictory (also a ValueError)
│   ├── UnknownArgumentError  a keyword that no callback takes (also a TypeError)
│   ├── MissingExtraError     a framework or library that the setting needs is not installed
│   ├── CommandNotFoundError  the command that a peer should run does not exist (internal)
│   ├── ForeignHookError      the trainer of another framework was given the callback (internal)
│   └── IdentityError         a key, certificate, invitation or document of a consortium that cannot be used
│       └── NameInUseError    another process on this machine has the name (internal)
├── ModelError                a tensor that cannot be merged, or a model that is not there yet
├── IncompatiblePeerError     a peer of this session has another model or other settings
├── StartTimeoutError         too few peers came before ``start_timeout`` (also a TimeoutError)
├── IncompleteSwarmError      the session ended without an expected site, under ``require_members``
├── RanksError                the processes of one site no longer act together
├── TransportError            the network
│   ├── AddressError          an address that cannot be parsed or listened on (also a ConfigurationError)
│   ├── UnreachablePeerError  a peer that does not answer
│   ├── UnknownCallError      a peer whose release does not know what it is asked (internal)
│   ├── UntrustedPeerError    a peer whose certificate does not allow what it asks for (internal)
│   ├── ProxyError            a proxy that is of another kind, cannot be reached or refuses (internal)
│   ├── LimitError            a caller that has as many calls open as it may (internal)
│   ├── NoDataChannelError    no data channel to a peer can be opened (internal)
│   ├── DataChannelError      the connection of a data channel ended (internal)
│   └── BrokenStreamError     the other end of a queue between two threads is gone (internal)
├── ExchangeError             a chunk that contradicts the session's schema, or a transfer that failed
│   ├── ContributionError     what one peer contributed cannot be merged (internal)
│   └── FalseModelError       what peers gave as a committed model is another one (internal)
├── UnreadableFileError       a file with a model that is missing or damaged (internal)
├── LedgerError               a ledger that cannot be read or written (internal)
└── DemoError                 a training of ``swarm demo`` failed (internal)

A training script can meet the errors that are not marked as internal, when it makes a callback, calls
``on_train_begin``, or calls a hook outside a run, or if a process of its own site is gone. Once training runs, what
goes wrong in a round is recorded in its report and logged; it is never raised into the training loop.
"""

from __future__ import annotations


class SwarmError(Exception):
    """Base of all errors raised by Swarm; raised itself where a hook of a callback is called outside a run."""

    told = False
    """Whether the log has its sentence."""


class ConfigurationError(SwarmError, ValueError):
    """A setting is unknown, out of range, or contradicts another one.

    Raised where a callback is made or a setting is read, by ``on_train_begin``, and by the command ``swarm``.
    """


class UnknownArgumentError(ConfigurationError, TypeError):
    """A callback was made with an argument that it does not take, or with one argument under two names."""


class MissingExtraError(ConfigurationError):
    """A library that a chosen feature needs is not installed. Raised where a callback is made."""


class CommandNotFoundError(ConfigurationError):
    """The command that a peer should run does not exist or cannot be executed.

    Never reaches the training script: ``swarm run`` and ``swarm up`` raise it before the script starts.
    """


class ForeignHookError(ConfigurationError, AttributeError):
    """The trainer of another framework was given this callback. An AttributeError, so that ``hasattr`` answers False.

    Never reaches the training script under this name, but as a ConfigurationError.
    """


class IdentityError(ConfigurationError):
    """A key, a certificate, an invitation or a consortium's document is missing, damaged, expired or not allowed.

    Raised by ``on_train_begin`` and by the commands that make identities. While training runs a changed file that
    cannot be used is only logged.
    """


class NameInUseError(IdentityError):
    """Another process of this user on this machine has the name that was given. Never reaches the training script."""


class ModelError(SwarmError):
    """The model holds something that cannot be merged, is not built yet, or has changed since training began.

    Raised by ``on_train_begin``, and by ``load_weights`` where a file is of another model.
    """


class IncompatiblePeerError(SwarmError):
    """A peer of the same session trains another model or runs under contradicting settings.

    Raised by ``on_train_begin``.
    """


class StartTimeoutError(SwarmError, TimeoutError):
    """Fewer than ``min_peers`` peers were there before ``start_timeout``. Raised by ``on_train_begin``."""


class IncompleteSwarmError(SwarmError):
    """The session ended without an expected site, or without a closing round, under ``require_members``.

    Raised by ``on_train_end``, once the model is loaded and all files are written.
    """


class RanksError(SwarmError):
    """Of a site of several processes: one is gone, did not answer in time, or failed.

    Raised by the hooks of a callback in the processes that are left. The site has left the swarm by then.
    """


class TransportError(SwarmError):
    """Base of network errors. A transport raises it while training runs; then it is only logged."""


class AddressError(TransportError, ConfigurationError):
    """An address cannot be parsed, resolved or listened on.

    Raised where a callback is made, and by ``on_train_begin``.
    """


class UnreachablePeerError(TransportError):
    """A peer does not answer. Raised by ``swarm status``; in training it is only logged."""


class UnknownCallError(TransportError):
    """A peer does not know what it is asked: its release is older, or it is no Swarm peer.

    Never reaches the training script; ``swarm check`` says it.
    """


class UntrustedPeerError(TransportError):
    """The certificate of a peer is revoked or expired, or is for another name than the peer speaks for.

    Never reaches the training script; both sides log it.
    """


class ProxyError(TransportError, OSError):
    """The proxy for a connection is of an unknown kind, cannot be reached, or refuses. Never holds its password.

    Never reaches the training script, as ``LimitError``.
    """


class LimitError(TransportError):
    """A caller uses as much of this peer as one caller may. Never reaches the training script; both sides log it."""


class NoDataChannelError(TransportError):
    """A data channel to a peer cannot be opened. The weights then travel over the transport that carries the messages.

    Never reaches the training script. ``lasting`` says that asking again soon would not help.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


class DataChannelError(TransportError):
    """The connection of a data channel ended, or the peer broke its protocol: the attempt fails and is repeated.

    Never reaches the training script; its text is part of the round's report.
    """


class BrokenStreamError(TransportError):
    """The queue between a thread that reads a stream and one that uses it was broken; ``cause`` is the reason.

    Never reaches the training script.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ExchangeError(SwarmError):
    """A chunk contradicts the session's schema, or a transfer of weights failed.

    Raised by codecs and transports. In training the attempt fails, and the report of the round has the reason.
    """


class ContributionError(ExchangeError):
    """What ``peer`` contributed cannot be merged: the attempt fails, and the peer is left out of the next one.

    It may be found while a frame of another peer is taken. Never reaches the training script; its text is part of the
    round's report.
    """

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(reason)
        self.peer = peer


class FalseModelError(ExchangeError):
    """What was fetched as a committed model has another digest, or NaN or infinity.

    Never reaches the training script: the model is fetched from each source alone then, and the false ones are logged.
    """


class UnreadableFileError(SwarmError):
    """A file with a model is missing, damaged, or may not be read.

    Never reaches the training script: ``load_weights`` raises a ModelError for it; a run that resumes takes an older
    checkpoint.
    """


class LedgerError(SwarmError):
    """A ledger cannot be read or written; with ``damaged``, because its file holds something else.

    Never reaches the training script: it is logged, and ``swarm ledger`` shows it.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


class DemoError(SwarmError):
    """A training of the demo failed. Never reaches the training script: the command ``swarm demo`` shows it."""
