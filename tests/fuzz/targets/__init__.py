"""All targets. A new one is an entry of the list ``GROUP`` of a module here."""

from tests.fuzz.target import by_name
from tests.fuzz.targets import answers, exchange, files, settings, streams, wire

TARGETS = by_name(wire.GROUP, streams.GROUP, exchange.GROUP, files.GROUP, answers.GROUP, settings.GROUP)
"""By name."""
