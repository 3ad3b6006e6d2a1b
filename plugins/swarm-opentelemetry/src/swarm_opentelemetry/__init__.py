"""OpenTelemetry metrics and traces of a Swarm session.

Installing the package is enough: `swarm` finds `_plugin` by its entry point. `meters` and `spans` turn events into
metrics and spans, `settings` reads the one variable, and `providers` sends, if that variable asks for it.
"""
