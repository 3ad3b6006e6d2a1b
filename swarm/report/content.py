"""What a report holds, and its form as JSON."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from swarm.errors import UnreadableFileError
from swarm.storage.results import REPORTS

FORMAT = 1
"""The version of the form. A change after which a reader of this version is wrong gets a new number."""
REPORT, PAGE = REPORTS
"""The names of the files: the JSON, and the page."""
MAX_BYTES = 256 * 2**20
"""Bytes of a report that is read."""
_Content = TypeVar("_Content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one model on the validation data of one site; None for a number that is not finite."""

    loss: float | None
    metrics: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One sync point that is over."""

    at: float
    """When it was over, in seconds since 1970."""
    round: int
    outcome: str
    """``merged``, ``skipped`` or ``closed``."""
    digest: str = ""
    group: tuple[str, ...] = ()
    """Who took part; empty where it was skipped."""
    weights: dict[str, int] = field(default_factory=dict)
    """The weight of each contributor."""
    steps: dict[str, int] = field(default_factory=dict)
    """Merged batches of each contributor."""
    refused: dict[str, str] = field(default_factory=dict)
    """Contributions that were left out, with the reason."""
    missing: tuple[str, ...] = ()
    """Who was in the round before and not in this one."""
    reason: str = ""
    """Why it was skipped, or why nothing was merged."""
    seconds: float = 0.0
    stall: float = 0.0
    """Seconds in which training was blocked."""
    waited: float = 0.0
    """Seconds of ``seconds`` in which this peer waited for others, before its last exchange of weights began."""
    waited_for: dict[str, float] = field(default_factory=dict)
    """For whom, with the seconds; of several peers each has all of them."""
    exchanged: float | None = None
    """Seconds of ``seconds`` from there to the commit; None where that was not measured."""
    bytes_sent: int = 0
    bytes_received: int = 0
    interval: int = 0
    """Batches to the next sync point."""
    attempts: int = 1
    own: Figures | None = None
    """Of this site's own model just before the merge."""
    merged: Figures | None = None
    """Of the merged model."""
    batch_loss: float | None = None
    """Training loss of the last batch before it; None where the loop does not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened between rounds."""

    at: float
    what: str
    """``joined``, ``returned``, ``left``, ``lost`` or ``failed``."""
    peer: str = ""
    round: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The part of one site."""

    rounds: int | None = None
    """Rounds of the session that it took part in; None where the ledger could not be read."""
    steps: int = 0
    """Its batches that were merged, in the rounds of this peer."""
    weight: int | None = None
    """Its last weight in a merge; None where it never contributed."""
    contributed: int = 0
    """Rounds of this peer to which it contributed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best merged model by the metric of the swarm."""

    round: int
    digest: str
    score: float | None
    monitor: str
    """What the score is of: ``loss``, or the name of a metric."""
    file: str = ""
    """The name of its file; empty where it was not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One site of the table across sites: the score on its own data of three models."""

    own: float | None = None
    """Of its own last model, just before its last merge."""
    closing: float | None = None
    best: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over the whole run."""

    seconds: float = 0.0
    """From the first model that was loaded to the end of the run."""
    training: float = 0.0
    """Seconds outside of sync points, validation and the wait at the end included."""
    rounds: float = 0.0
    """Seconds of all sync points."""
    stall: float = 0.0
    """Seconds in which a sync point blocked the training."""
    waited: float = 0.0
    """Seconds of ``rounds`` in which this peer waited for others."""
    waited_for: dict[str, float] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
    merged: int = 0
    """Rounds that merged something here."""
    skipped: int = 0
    compared: int = 0
    """Rounds in which the own and the merged model were both validated."""
    better: int = 0
    """Of these, those in which the merged model had the lower loss."""
    worse: int = 0
    """Of these, those in which it had the higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting and where its value came from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of one run of one site."""

    swarm_report: int = FORMAT
    site: str
    session: str
    sentence: str
    """What this site gained."""
    began: float
    """Seconds since 1970."""
    ended: float
    closing: bool
    """Whether the site ended with the closing model of the swarm."""
    reason: str = ""
    """Why not, if so."""
    digest: str = ""
    """Of the model that it ended with."""
    lineage: str = ""
    round: int = 0
    """Of the last committed round here."""
    all_rounds: int = 0
    """Rounds of the session; 0 where the ledger could not be read."""
    epochs: int = 0
    """Epochs that the site has trained; 0 where its loop does not tell them."""
    file: str = ""
    """The name of the file of the model that this site ended with."""
    start: Figures | None = None
    """Of the model that the run started from."""
    own: Figures | None = None
    """Of this site's own model just before its last merge."""
    final: Figures | None = None
    """Of the last merged model that was validated: with ``closing``, that is the closing one."""
    best: Best | None = None
    totals: Totals
    every: int = 1
    """Of a long run every so manieth round is in ``rounds``, and the last one."""
    rounds: tuple[Round, ...] = ()
    happenings: tuple[Happening, ...] = ()
    """The first ones of a run with very many."""
    sites: dict[str, Site] = field(default_factory=dict)
    across: dict[str, Row] = field(default_factory=dict)
    """The sites that share their metrics; empty where this one does not."""
    settings: dict[str, Setting] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    record: str = ""
    """Hash of the record of the last round."""
    records: int | None = None
    """Records in the ledger on disk."""
    link: str = ""
    """The link of the last of them."""


def figures(loss: float | None, metrics: Mapping[str, float]) -> Figures | None:
    """The figures of a validation; None where there was none."""
    if loss is None:
        return None
    return Figures(loss=_finite(loss), metrics={name: _finite(value) for name, value in metrics.items()})


def plain(report: Report) -> dict[str, Any]:
    """The report in types that JSON has; numbers that are not finite become None."""
    return typing.cast("dict[str, Any]", _plain(asdict(report)))


def to_json(report: Report) -> bytes:
    """The report as JSON."""
    text = json.dumps(plain(report), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def read_report(path: Path) -> Report:
    """The report in a file.

    Raises:
        UnreadableFileError: it cannot be read, or is no report of a version that is known here.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}") from error
    version = found.get("swarm_report") if isinstance(found, dict) else None
    if version != FORMAT:
        known = f"a report of version {FORMAT}"
        raise UnreadableFileError(f"{path} is not {known}" + (f", but of version {version}" if version else ""))
    try:
        return _made(Report, typing.cast("dict[str, Any]", found))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UnreadableFileError(f"{path} is no complete report: {error}") from error


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return _finite(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _made(kind: type[_Content], values: Mapping[str, Any]) -> _Content:
    """A dataclass from the values of its fields; what it does not know is left out.

    Raises:
        TypeError: a value is of another type, or one is missing.
    """
    hints = typing.get_type_hints(kind)
    names = [each.name for each in fields(kind) if each.name in values]  # type: ignore[arg-type]
    return kind(**{name: _value(hints[name], values[name], name) for name in names})


def _value(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        inner = next(each for each in arguments if each is not types.NoneType)
        return None if value is None else _value(inner, value, name)
    if origin is dict and isinstance(value, dict):
        return {key: _value(arguments[1], each, name) for key, each in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], each, name) for each in value)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _made(hint, value)
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise TypeError(f"{name} is a {type(value).__name__}")
