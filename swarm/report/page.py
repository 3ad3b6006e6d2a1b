"""The report as one HTML file that needs nothing else: no script, and no resource from elsewhere.

Names of peers and reasons come from other machines. Every text passes ``html.escape``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from swarm.clock import duration
from swarm.report.charts import Point, lines, stacked
from swarm.report.content import REPORT, Figures, Report, Round
from swarm.report.style import STYLE
from swarm.report.words import day, number, percent, short
from swarm.text import size

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: the style in it."""
NONE = "-"
LARGEST = 1e150
"""The largest loss that is drawn."""


def page(report: Report) -> bytes:
    """The page of a report."""
    title = f"{report.site} in {report.session}: Swarm report"
    parts = [
        _head(report),
        f'<section class="gain" aria-label="What this site gained"><p>{escape(report.sentence)}</p></section>',
        _tiles(report),
        _models(report),
        _loss_chart(report),
        _time_chart(report),
        _sites(report),
        _across(report),
        _left_out(report),
        _rounds(report),
        _happenings(report),
        _evidence(report),
        _settings(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    ).encode("utf-8", "backslashreplace")


def _head(report: Report) -> str:
    end = "with the closing model of the swarm" if report.closing else "without a closing model"
    when = f"{day(report.began)} to {day(report.ended)}, {end}"
    return f"<header><h1>{escape(report.site)} in {escape(report.session)}</h1><p>{escape(when)}</p></header>"


def _tiles(report: Report) -> str:
    totals = report.totals
    of = f" of {report.all_rounds}" if report.all_rounds else ""
    mine = report.sites[report.site].rounds if report.site in report.sites else None
    tiles = [
        ("rounds of the session with this site", f"{totals.merged if mine is None else mine}{of}"),
        ("sites", str(len(report.sites))),
        ("run", duration(totals.seconds)),
        ("training stood still for merges", f"{duration(totals.stall)} ({percent(totals.stall, totals.seconds)})"),
        ("sent", size(totals.bytes_sent)),
        ("received", size(totals.bytes_received)),
        ("waited for other sites", duration(totals.waited)),
    ]
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    return f'<section aria-label="The run in figures"><dl class="tiles">{shown}</dl>{_waited_for(report)}</section>'


def _waited_for(report: Report) -> str:
    whom = sorted(report.totals.waited_for.items(), key=lambda each: (-each[1], each[0]))
    if not whom:
        return ""
    shown = ", ".join(f"{peer} {duration(seconds)}" for peer, seconds in whom[:10])
    return f'<p class="note">Waited for: {escape(shown)}</p>'


def _models(report: Report) -> str:
    found = [
        ("the model that the run started from", report.start),
        ("this site's own model just before its last merge", report.own),
        ("closing model" if report.closing else "last merged model", report.final),
    ]
    metrics = sorted({name for _, each in found if each for name in each.metrics})
    rows = [
        [name, number(each.loss), *(number(each.metrics.get(metric)) for metric in metrics)]
        for name, each in found
        if each is not None
    ]
    best = ""
    if report.best:
        file = f", in <code>{escape(report.best.file)}</code>" if report.best.file else ""
        best = (
            f'<p class="note">The best merged model is that of round {report.best.round}: '
            f"{escape(report.best.monitor)} {number(report.best.score)} over the sites that validate{file}.</p>"
        )
    if not rows:
        return f"<section><h2>Models</h2>{best}</section>" if best else ""
    note = (
        '<p class="note">The own model has learned from all merges before the last one, so this compares a merge with '
        "the training before it. It does not say what this site would have reached alone.</p>"
    )
    table = _table(["on this site's validation data", "loss", *metrics], rows, numbers=range(1, 2 + len(metrics)))
    return f"<section><h2>Models</h2>{table}{best}{note}</section>"


def _loss_chart(report: Report) -> str:
    own = _points(report.rounds, [each.own for each in report.rounds])
    merged = _points(report.rounds, [each.merged for each in report.rounds])
    if report.start and report.start.loss is not None and _drawable(report.start) and report.rounds:
        merged = [(float(min(each.round for each in report.rounds) - 1), report.start.loss), *merged]
    title = "Validation loss of the own and the merged model by round"
    drawn = lines(title, {"own": own, "merged": merged}, x_label="round")
    if not drawn:
        return ""
    key = _key([("merged", "merged model"), ("own", "this site's own model just before the merge")])
    return f"<section><h2>Validation loss on this site's data</h2>{key}{drawn}</section>"


def _points(rounds: Sequence[Round], found: Sequence[Figures | None]) -> list[Point]:
    pairs = zip(rounds, found, strict=True)
    return [
        (float(each.round), figures.loss)
        for each, figures in pairs
        if figures and figures.loss is not None and _drawable(figures)
    ]


def _drawable(found: Figures) -> bool:
    """Whether a loss can be drawn: the range of an axis is a number too."""
    return found.loss is not None and abs(found.loss) < LARGEST


def _time_chart(report: Report) -> str:
    rounds = report.rounds
    waited = [min(each.waited, each.seconds) for each in rounds]
    rest = [each.seconds - wait for each, wait in zip(rounds, waited, strict=True)]
    numbers = [float(each.round) for each in rounds]
    drawn = stacked("Seconds of each round", numbers, {"wait": waited, "rest": rest}, x_label="round")
    if not drawn:
        return ""
    key = _key([("wait", "waiting for other sites"), ("rest", "merging")])
    return f"<section><h2>Seconds of each round</h2>{key}{drawn}</section>"


def _sites(report: Report) -> str:
    rows = [
        [
            peer,
            NONE if site.rounds is None else str(site.rounds),
            str(site.contributed),
            NONE if site.weight is None else str(site.weight),
            str(site.steps),
        ]
        for peer, site in report.sites.items()
    ]
    heads = ["site", "rounds", "contributed here", "last weight", "batches merged"]
    return f"<section><h2>Sites</h2>{_table(heads, rows, numbers=range(1, 5))}</section>" if rows else ""


def _across(report: Report) -> str:
    if not report.across:
        return ""
    monitor = report.settings["monitor"].value if "monitor" in report.settings else "loss"
    rows = [
        [peer, number(row.own), number(row.closing), number(row.best)] for peer, row in sorted(report.across.items())
    ]
    heads = [f"{monitor} on the data of", "its own last model", "closing model", "best model"]
    note = '<p class="note">Sites that share their metrics. What another site tells is not checked.</p>'
    return f"<section><h2>Across sites</h2>{_table(heads, rows, numbers=range(1, 4))}{note}</section>"


def _left_out(report: Report) -> str:
    rows = [[str(each.round), peer, reason] for each in report.rounds for peer, reason in sorted(each.refused.items())]
    if not rows:
        return ""
    table = _table(["round", "contribution of", "reason"], rows, long=(2,))
    return f"<section><h2>Contributions that were left out</h2>{table}</section>"


def _rounds(report: Report) -> str:
    rows = [
        [
            str(each.round),
            each.outcome,
            ", ".join(f"{peer} {each.weights.get(peer, 0)}" for peer in each.group) or each.reason,
            f"{each.seconds:.2f}",
            size(each.bytes_sent),
            number(each.own.loss if each.own else None),
            number(each.merged.loss if each.merged else None),
            short(each.digest),
        ]
        for each in report.rounds
    ]
    heads = ["round", "outcome", "sites and weights", "seconds", "sent", "own loss", "merged loss", "digest"]
    left_out = f" (one of {report.every} of a long run)" if report.every > 1 else ""
    table = _table(heads, rows, numbers=(3, 4, 5, 6), long=(2,))
    return f"<section><details><summary>{len(rows)} rounds{left_out}</summary>{table}</details></section>"


def _happenings(report: Report) -> str:
    rows = [
        [day(each.at), each.what, each.peer, NONE if each.round is None else str(each.round), each.reason]
        for each in report.happenings
    ]
    if not rows:
        return ""
    table = _table(["time", "what", "site", "round", "reason"], rows, long=(4,))
    return f"<section><details><summary>{len(rows)} events between rounds</summary>{table}</details></section>"


def _evidence(report: Report) -> str:
    rows = [
        ["digest of the model that this site ended with", report.digest or NONE],
        ["its file", report.file or NONE],
        ["last round, lineage", f"{report.round}, {report.lineage or NONE}"],
        ["hash of its record", report.record or NONE],
        ["records in the ledger", NONE if report.records is None else str(report.records)],
        ["link of the last one", report.link or NONE],
    ]
    if report.best:
        rows.insert(2, ["digest of the best model", report.best.digest])
    rows += [[f"version of {name}", value] for name, value in report.versions.items()]
    note = f'<p class="note">All of this, and more, is in <code>{escape(REPORT)}</code>.</p>'
    return f"<section><h2>Evidence</h2>{_table(['', ''], rows, long=(1,))}{note}</section>"


def _settings(report: Report) -> str:
    rows = [[name, _value(each.value), each.origin] for name, each in report.settings.items()]
    table = _table(["setting", "value", "from"], rows, long=(1,))
    return f"<section><details><summary>{len(rows)} settings</summary>{table}</details></section>"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join("=".join(map(str, each)) if isinstance(each, list) else str(each) for each in value) or NONE
    return NONE if value is None else str(value)


def _key(names: Iterable[tuple[str, str]]) -> str:
    shown = "".join(f'<li><i class="{name}"></i>{escape(text)}</li>' for name, text in names)
    return f'<ul class="key">{shown}</ul>'


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), long: Iterable[int] = ()
) -> str:
    classes = {**dict.fromkeys(numbers, ' class="n"'), **dict.fromkeys(long, ' class="long"')}

    def cells(values: Sequence[str], kind: str) -> str:
        scope = ' scope="col"' if kind == "th" else ""
        return "".join(
            f"<{kind}{classes.get(place, '')}{scope}>{escape(value)}</{kind}>" for place, value in enumerate(values)
        )

    head = f"<thead><tr>{cells(heads, 'th')}</tr></thead>" if any(heads) else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{body}</tbody></table></div>'
