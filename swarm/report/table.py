"""The report as a table on a terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from swarm.clock import duration
from swarm.report.content import Report
from swarm.report.words import number, percent, short
from swarm.text import size


def tables(report: Report) -> Group:
    """The sentence, what the models are like on this site's data, the part of each site, and the cost."""
    shown: list[Text | Table] = [Text(f"{report.site} in {report.session}", style="bold"), Text(report.sentence)]
    if report.final or report.own or report.start:
        shown += [Text(), _models(report)]
    if report.sites:
        shown += [Text(), _sites(report)]
    totals = report.totals
    whom = max(totals.waited_for.items(), key=lambda each: (each[1], each[0]), default=None)
    longest = f", the longest for {whom[0]}" if whom else ""
    shown += [
        Text(),
        Text(
            f"{duration(totals.seconds)} in all; {totals.merged} rounds merged, {totals.skipped} skipped; training "
            f"stood still for {duration(totals.stall)} ({percent(totals.stall, totals.seconds)}), of the rounds "
            f"{duration(totals.waited)} waiting for other sites{longest}; {size(totals.bytes_sent)} sent, "
            f"{size(totals.bytes_received)} received"
        ),
        Text(f"digest {report.digest or 'none'}, round {report.round}, file {report.file or 'none'}"),
    ]
    if report.best:
        best = report.best
        what = f"{best.monitor} {number(best.score)} over the sites that validate, digest {short(best.digest)}"
        shown.append(Text(f"best model: round {best.round}, {what}, file {best.file or 'none'}"))
    return Group(*shown)


def _models(report: Report) -> Table:
    found = {
        "at the start": report.start,
        "own, before the last merge": report.own,
        "closing" if report.closing else "last merged": report.final,
    }
    metrics = sorted({name for each in found.values() if each for name in each.metrics})
    table = _table("model on this site's data", "loss", *metrics)
    for name, each in found.items():
        if each:
            table.add_row(name, number(each.loss), *(number(each.metrics.get(metric)) for metric in metrics))
    return table


def _sites(report: Report) -> Table:
    monitor = report.settings["monitor"].value if "monitor" in report.settings else "loss"
    across = [f"{monitor}: own", "closing", "best"] if report.across else []
    table = _table("site", "rounds", "weight", "batches merged", *across)
    for peer, site in report.sites.items():
        row = report.across.get(peer)
        scores = [number(each) for each in (row.own, row.closing, row.best)] if row else ["-"] * 3
        counts = ("-" if each is None else str(each) for each in (site.rounds, site.weight, site.steps))
        table.add_row(Text(peer), *counts, *(scores if across else []))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(Text(name), justify="right")
    return table
