"""``swarm ledger``: show, check and export the records of committed rounds that peers have kept."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from swarm.certification.chain import Verifier
from swarm.certification.encoding import decode_record
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import credential_statement, record_hash
from swarm.cli import options
from swarm.cli.directories import fallbacks
from swarm.cli.site import IdentityOption, configured, identity_directory, note
from swarm.cli.table import console
from swarm.errors import ConfigurationError, LedgerError
from swarm.identity import files
from swarm.identity.certificates import load
from swarm.identity.vouching import doubt_of_authority
from swarm.records import Commit, Credential
from swarm.storage.ledger.audit import Audit, disagreements
from swarm.storage.ledger.database import Row
from swarm.storage.ledger.exports import export_lines, open_source
from swarm.storage.ledger.files import DATABASE
from swarm.storage.ledger.sources import DatabaseSource, Source
from swarm.storage.places import STATE
from swarm.text import printable

SHORT = 12
"""Digits of a digest in a table."""

Place = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="Model directory, a ledger's file or an export; default: model_dir."),
]
Vouch = Callable[[Credential], str]

ledger = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Show, check or export the records of committed rounds.",
)


@ledger.command()
def show(
    place: Place = None,
    *,
    round_: Annotated[
        int | None, typer.Option("--round", metavar="N", min=0, help="Show all of the records of round N.")
    ] = None,
    last: Annotated[int, typer.Option(metavar="N", min=1, help="Show the last N records.")] = 50,
    json_output: options.Json = False,
) -> None:
    """Show the records of a ledger: who took part in which round, with which weight.

    [bold]swarm ledger show out[/]

    It checks nothing: `swarm ledger verify` does.
    """
    shown = []
    for source in _sources(place):
        after = 0 if round_ is not None else max(source.count - last, 0)
        rows = [(row, _record(row)) for row in source.rows(after, round_)]
        shown.append((source, [each for each in rows if round_ is None or each[1] is None or each[1].round == round_]))
    if json_output:
        typer.echo(json.dumps({"ledgers": [_document(source, rows) for source, rows in shown]}))
        return
    for source, rows in shown:
        _tell(f"{source}: {_what(source)}")
        if round_ is None:
            console().print(_table(rows))
        else:
            for row, record in rows:
                console().print(_details(row, record))


@ledger.command()
def verify(
    place: Place = None,
    *,
    other: Annotated[
        Path | None,
        typer.Option("--with", metavar="DIR", help="Compare with the ledger of another peer, or its export."),
    ] = None,
    authority: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate of the authority that all peers have theirs from.")
    ] = None,
    identity: IdentityOption = None,
    tolerated_liars: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="In place of the session's own setting, which the ledger has."),
    ] = None,
) -> None:
    """Find what was changed, removed or cut off in a ledger. Exit code 1: something was found.

    [bold]swarm ledger verify out[/]
    [bold]swarm ledger verify out --with berlin.jsonl[/]

    Without --authority it takes that of the identity, if there is one.
    """
    issuer = _authority(authority, identity)
    audits, findings = _checked(_places(place), issuer, tolerated_liars)
    if other is not None:
        others, more = _checked(_places(other), issuer, tolerated_liars)
        findings += more + _compared(audits, others)
    if issuer is None:
        note("whose the keys are was not checked: give the authority with --authority or --identity")
    if findings:
        raise typer.Exit(1)


@ledger.command()
def export(
    place: Place = None,
    *,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to FILE, not to standard output.")] = None,
) -> None:
    """Write a ledger as lines of JSON, which `swarm ledger verify` checks too.

    [bold]swarm ledger export out --output paris.jsonl[/]

    The peer may run meanwhile.
    """
    source = _one(place)
    if output is None:
        for line in export_lines(source):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("wb") as file:
            file.writelines(export_lines(source))
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}") from error
    note(f"{output}: {_what(source)}")


# Places --------------------------------------------------------------------------------------------------------------


def _places(place: Path | None) -> list[Path]:
    """The files of the ledgers at a place.

    Raises:
        ConfigurationError: there are none.
    """
    where = place
    if where is None:
        found = {**fallbacks(os.environ), **configured()}.get("model_dir")
        if not found or not found.value:
            raise ConfigurationError("it is not known where the ledger is: give a model directory, or set model_dir")
        where = Path(found.value)
    if where.is_file():
        return [where]
    below = f"{STATE}/*/*/{DATABASE}"  # of a peer; or of each of the peers of `swarm up`
    files_ = [path for pattern in (DATABASE, below, f"*/{below}") for path in sorted(where.glob(pattern))]
    if not files_:
        raise ConfigurationError(
            f"there is no ledger in {where}: give the model directory of a peer, its {DATABASE}, or an export"
        )
    return files_


def _open(path: Path) -> Source:
    try:
        return open_source(path)
    except LedgerError as error:
        raise LedgerError(f"{path} cannot be read: {error}") from error


def _sources(place: Path | None) -> Iterator[Source]:
    return map(_open, _places(place))


def _one(place: Path | None) -> DatabaseSource:
    places = _places(place)
    if len(places) > 1:
        raise ConfigurationError(f"there are several ledgers: give one of {', '.join(map(str, places))}")
    source = _open(places[0])
    if not isinstance(source, DatabaseSource):
        raise ConfigurationError(f"{source} is an export already")
    return source


# Checking ------------------------------------------------------------------------------------------------------------


def _authority(file: Path | None, identity: Path | None) -> bytes | None:
    """The certificate of the authority that vouches for keys; None if there is none.

    Raises:
        IdentityError: it cannot be read.
    """
    if file is None:
        directory = identity_directory(identity)
        if identity is None and not directory.is_dir():
            return None
        file = directory / files.AUTHORITY
    data = files.read(file)
    load(data)
    return data


def _checked(places: Iterable[Path], authority: bytes | None, liars: int | None) -> tuple[list[Audit], int]:
    """Check ledgers, and tell what is found; with the number of findings."""
    audits, count = [], 0
    for path in places:
        try:
            source = open_source(path)
            audit = Audit(source, *_means(source.session, authority), liars)
        except LedgerError as error:
            _tell(f"{path}: it cannot be read: {error}")
            count += 1
            continue
        for text in audit.findings:
            _tell(f"{path}: {text}")
        for text in audit.notes:
            note(f"{path}: {text}")
        if not audit.findings:
            _tell(f"{path}: {_what(source, audit.count)}: complete, unchanged, and each is certified")
        count += len(audit.findings)
        audits.append(audit)
    return audits, count


def _means(session: str, authority: bytes | None) -> tuple[Verifier, Vouch | None]:
    """What tells true records of a session."""

    def vouch(given: Credential) -> str:
        return doubt_of_authority(authority or b"", given, credential_statement(session, given.peer, given.key))

    if authority is None:
        return Verifier(session=session, signer=ProcessKey()), None
    return Verifier(session=session, signer=ProcessKey(), vouch=vouch), vouch


def _compared(audits: list[Audit], others: list[Audit]) -> int:
    """Compare the ledgers of each session; the number of disagreements."""
    count = compared = 0
    for one in audits:
        for other in others:
            if one.source.session != other.source.session or one.source.path == other.source.path:
                continue
            compared += 1
            found = list(disagreements(one, other))
            for text in found or [f"{one.source} and {other.source} agree on all records that both have"]:
                _tell(text)
            count += len(found)
    if not compared:
        raise ConfigurationError("there are no two ledgers of one session to compare")
    return count


def _tell(text: str) -> None:
    typer.echo(printable(text))


# Showing -------------------------------------------------------------------------------------------------------------


def _record(row: Row) -> Commit | None:
    try:
        return decode_record(row.content)
    except ValueError:
        return None


Shown = list[tuple[Row, Commit | None]]


def _what(source: Source, count: int | None = None) -> str:
    return f"{source.count if count is None else count} records of {source.peer} in session {source.session}"


def _table(rows: Shown) -> Table:
    several = len({record.lineage for _, record in rows if record}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["record", *(["lineage"] if several else []), "round", "kind", "group", "refused", "digest", "signers"]
    for column in columns:
        table.add_column(column, justify="right" if column in {"record", "round"} else "left")
    for row, record in rows:
        if record is None:
            table.add_row(str(row.number), "cannot be read")
            continue
        cells = [
            str(row.number),
            *([record.lineage] if several else []),
            str(record.round),
            f"{record.kind}, closing" if record.closing else str(record.kind),
            ", ".join(f"{peer} {weight}" for peer, weight in zip(record.group, record.weights, strict=False)),
            ", ".join(each.peer for each in record.refused) or "-",
            record.digest[:SHORT],
            ", ".join(_signers(record)),
        ]
        table.add_row(*map(Text, cells))
    if rows and rows[0][0].number > 1:
        table.caption, table.caption_justify = Text(f"{rows[0][0].number - 1} earlier records: --last N"), "left"
    return table


def _details(row: Row, record: Commit | None) -> Table:
    """All of one record."""
    table = Table(box=None, pad_edge=False, show_header=False)
    lines = [("record", str(row.number)), ("link", row.link)]
    if record is None:
        lines.append(("content", "cannot be read"))
    else:
        lines += [
            ("hash", record_hash(record)),
            ("follows", record.previous or "-"),
            ("lineage", record.lineage),
            ("round", str(record.round)),
            ("kind", f"{record.kind}, closing" if record.closing else str(record.kind)),
            ("members", ", ".join(record.members)),
            *(
                ("group", f"{peer}, weight {weight}" + ("" if peer in record.contributors else ", receives only"))
                for peer, weight in zip(record.group, record.weights, strict=False)
            ),
            *(("refused", f"{each.peer}: {each.reason}") for each in record.refused),
            *(("removed", f"{each.peer} has signed two results of round {each.round}") for each in record.proofs),
            ("digest", record.digest),
            ("rule", f"{record.rule}, codec {record.codec}"),
            ("settings", record.settings or "-"),
            ("interval", str(record.sync.interval)),
            *([("best model", f"{record.best.digest}, of round {record.best.round}")] if record.best else []),
            ("signers", ", ".join(_signers(record))),
        ]
    for name, text in lines:
        table.add_row(Text(name, style="bold"), Text(text, overflow="fold"))
    return table


def _signers(record: Commit) -> list[str]:
    return [each.peer for each in record.certificate.signatures] if record.certificate else []


def _document(source: Source, rows: Shown) -> dict[str, Any]:
    return {
        "path": str(source),
        "session": source.session,
        "peer": source.peer,
        "count": source.count,
        "records": [
            {
                "number": row.number,
                "link": row.link,
                "hash": record_hash(record) if record else None,
                "record": _finite(json.loads(row.content)) if record else None,
            }
            for row, record in rows
        ],
    }


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """A record of which every reader of JSON can read all numbers."""
    reference = record["sync"]["reference"]
    sync = record["sync"] | {"reference": reference if reference is None or abs(reference) < float("inf") else None}
    return record | {"sync": sync}
