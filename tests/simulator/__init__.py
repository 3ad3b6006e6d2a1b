"""Whole swarms in virtual time: the real sessions, engines, exchanges and codecs, without threads and sockets.

``python -m tests.simulator --schedules 500`` draws as many runs from seeds: peers, settings, faults. Each session runs
on an executor whose threads are greenlets and whose clock is virtual; messages and weights travel through a network in
memory that delays, loses, doubles and reorders messages. The invariants of ``docs/rounds.md`` are checked after every
event; a run that breaks one replays exactly from its seed.
"""
