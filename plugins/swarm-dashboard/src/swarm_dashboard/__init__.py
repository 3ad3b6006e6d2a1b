"""A live page of a Swarm training, for the browser.

``feed`` asks the peers, ``history`` keeps what they have told and what ``reports`` reads in the reports that they write
at their end, ``application`` hands it to browsers, ``access`` says who may see it, and ``serving`` does so on a socket.
The page itself is in ``page``: HTML, CSS and JavaScript as they are, without a build step. There, ``run.js`` keeps the
run, and ``report.js`` reads a saved report as one.
"""

from __future__ import annotations

from swarm_dashboard.serving import serve

__all__ = ["serve"]
