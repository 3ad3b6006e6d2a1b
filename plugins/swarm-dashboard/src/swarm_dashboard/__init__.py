"""A live page of a Swarm training, for the browser.

``history`` keeps what the peers have told, ``application`` hands it to browsers, ``access`` says who may see it, and
``serving`` does so on a socket. The page itself is in ``page``: HTML, CSS and JavaScript as they are, without a build
step. ``saved`` opens a file instead.
"""

from __future__ import annotations

from swarm_dashboard.serving import serve

__all__ = ["serve"]
