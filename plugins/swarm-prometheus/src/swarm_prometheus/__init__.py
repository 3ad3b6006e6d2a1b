"""Prometheus metrics of the Swarm sessions in this process.

Installing the package is enough: `swarm` finds `_plugin` by its entry point. `exporter` turns events into metrics of
the default registry, which an existing endpoint of the application exposes. `endpoint` opens an endpoint if
`SWARM_PROMETHEUS_PORT` is set.
"""
