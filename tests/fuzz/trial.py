"""Inputs given to a target, and what went wrong."""

from __future__ import annotations

import enum
import hashlib
import logging
import time
import traceback
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.fuzz.coverage import Coverage, Line
from tests.fuzz.memory import peak, reset_peak
from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target

SLOW = 1.0
"""Seconds for one input, above which it counts as a hang."""
LARGE = 64 << 20
"""Bytes of memory for one input, above which it counts as oversized."""
SUSPICIOUS = LARGE // 2
"""Of a batch, whose inputs are then tried one at a time."""
BATCH = 100
TRACED = 16
"""Inputs, of which one is traced, and kept if it reaches a line that none did before."""
MOST_KEPT = 300
"""Inputs that are changed further, the corpus included."""
LONGEST_KEPT = 1 << 14
"""Bytes of such an input."""


class Kind(enum.StrEnum):
    """What went wrong with an input."""

    CRASH = "crash"
    """Another exception than those that the target documents, or one that the operating system raised."""
    HANG = "hang"
    OVERSIZED = "oversized"


class InterruptedInputError(BaseException):
    """Raised by a timer into an input that does not end. No target catches it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input with which a target failed."""

    target: str
    kind: Kind
    data: bytes
    what: str
    """The error, the seconds, or the bytes of memory."""

    @property
    def name(self) -> str:
        """For a file."""
        return f"{self.target}-{self.kind}-{hashlib.sha256(self.data).hexdigest()[:12]}"


@dataclass(slots=True)
class Trial:
    """Inputs for one target, each a change of one that is known. The same seed makes the same inputs."""

    target: Target
    corpus: Sequence[bytes]
    seed: int
    findings: list[Finding] = field(default_factory=list)
    """The first with each error."""
    counts: Counter[Kind] = field(default_factory=Counter)
    """How many inputs failed."""
    executions: int = 0
    peak: int = 0
    """The most memory that was resident after some input, in bytes."""
    _known: list[bytes] = field(init=False)
    reached: set[Line] = field(default_factory=set)
    """Lines of Swarm, by the traced inputs."""
    _coverage: Coverage = field(default_factory=Coverage)
    _seen: set[Hashable] = field(default_factory=set)
    _reported: set[Hashable] = field(default_factory=set)
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._known = list(self.corpus) or [b""]
        self._random = Random(f"{self.target.name} {self.seed}")

    def replay(self) -> None:
        """Try the corpus as it is."""
        self._batch(self.corpus)
        for data in self.corpus:
            self._trace(data)

    def run(self, batches: int = 1) -> None:
        """Try ``BATCH`` new inputs, so many times."""
        for _ in range(batches):
            known, form = self._known, self.target.form
            choose = self._random.choice
            self._batch([mutated(self._random, choose(known), known, form) for _ in range(BATCH)])

    def _batch(self, inputs: Sequence[bytes]) -> None:
        before = reset_peak()
        for data in inputs:
            self._try(data)
            if self.executions % TRACED == 0:
                self._trace(data)
        self.peak = max(self.peak, most := peak())
        if before and most - before > SUSPICIOUS:
            self._weigh(inputs)

    def _try(self, data: bytes) -> None:
        self.executions += 1
        begun = time.perf_counter()
        try:
            outcome = self._outcome(data)
        except InterruptedInputError:
            self._report(Kind.HANG, data, "it did not end", None)
            return
        if time.perf_counter() - begun > SLOW and (seconds := self._seconds(data)) > SLOW:
            self._report(Kind.HANG, data, f"{seconds:.1f} s", outcome)
        if outcome not in self._seen:
            self._seen.add(outcome)
            self._keep(data)

    def _trace(self, data: bytes) -> None:
        if len(data) > LONGEST_KEPT:
            return
        with self._coverage as coverage:
            self._outcome(data)
        if not coverage.lines <= self.reached:
            self.reached |= coverage.lines
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        if len(data) <= LONGEST_KEPT and len(self._known) < MOST_KEPT and data not in self._known:
            self._known.append(data)

    def _outcome(self, data: bytes) -> Hashable:
        """What became of an input: where it was refused, or what was accepted."""
        try:
            accepted = self.target.run(data)
        except self.target.refusals as refusal:
            return _place(refusal)
        except (InterruptedInputError, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - that is what is looked for; a panic of Rust is no Exception
            place = _place(error)
            self._report(Kind.CRASH, data, "".join(traceback.format_exception(error)[-3:]).strip(), place)
            return place
        return "accepted", accepted

    def _seconds(self, data: bytes) -> float:
        """The shortest of three more times: another program may have used the processor during the first."""
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            self._outcome(data)
            taken.append(time.perf_counter() - begun)
        return min(taken)

    def _weigh(self, inputs: Sequence[bytes]) -> None:
        for data in inputs:
            before = reset_peak()
            outcome = self._outcome(data)
            if (grown := peak() - before) > LARGE:
                self._report(Kind.OVERSIZED, data, f"{grown >> 20} MiB for {len(data)} bytes", outcome)

    def _report(self, kind: Kind, data: bytes, what: str, place: Hashable) -> None:
        self.counts[kind] += 1
        if (kind, place) not in self._reported:
            self._reported.add((kind, place))
            self.findings.append(Finding(self.target.name, kind, data, what))


def quiet() -> None:
    """Log nothing: a decoder may log what it skips, once for each input."""
    logging.disable(logging.CRITICAL)


def _place(error: BaseException) -> Hashable:
    """The type of an error and the lines that it passed."""
    trace, lines = error.__traceback__, []
    while trace is not None:
        lines.append((id(trace.tb_frame.f_code), trace.tb_lineno))
        trace = trace.tb_next
    return type(error), *lines
