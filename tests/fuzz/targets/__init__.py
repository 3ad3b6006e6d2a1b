"""All targets. A new one is an entry of the list ``GROUP`` of a module here."""

from tests.fuzz.target import by_name
from tests.fuzz.targets import answers, enrolment, exchange, files, identity, records, settings, streams, ways, wire

_MODULES = (wire, streams, exchange, files, records, answers, settings, identity, enrolment, ways)
TARGETS = by_name(*(module.GROUP for module in _MODULES))
"""By name."""
