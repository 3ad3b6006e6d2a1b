"""Writes ``docs/learning.md`` with its pictures from results kept beside it: ``python -m benchmarks.report``.

``plan`` says which commands are measured; ``measure`` runs them and keeps their figures as JSON in ``docs/learning``;
``page`` makes the text and ``pictures`` the pictures, from that JSON alone.
"""
