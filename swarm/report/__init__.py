"""The report of a run for its site: what happened in each round, what it cost, and what the site gained.

``Recorder`` consumes the events of one session and writes ``swarm-report.json`` and ``swarm-report.html`` at its end.
``Report`` is what they hold; ``docs/report.md`` describes the JSON.
"""

from __future__ import annotations

from swarm.report.content import REPORT, Report, read_report
from swarm.report.recorder import RECORDER, Recorder

__all__ = ["RECORDER", "REPORT", "Recorder", "Report", "read_report"]
