"""Alerts of a Swarm session, by webhook or mail.

Installing the package and setting `SWARM_ALERTS_WEBHOOK` or `SWARM_ALERTS_MAIL` is enough: `swarm` finds `_plugin` by
its entry point. `watcher` decides what is worth an alert, `sending` sends it, `settings` reads the variables, and
`desk` does all that on a thread of its own, for which no round ever waits.
"""
