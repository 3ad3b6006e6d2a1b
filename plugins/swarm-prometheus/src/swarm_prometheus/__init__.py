"""Prometheus metrics of the Swarm sessions in this process.

Installing the package is enough: `swarm` finds `_plugin` by its entry point. `exporter` turns events into metrics of
the default registry, which any endpoint that the application already has will show; `endpoint` opens one of our own
when `SWARM_PROMETHEUS_PORT` says so.
"""
