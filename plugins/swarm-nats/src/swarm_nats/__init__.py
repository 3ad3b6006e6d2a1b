"""Swarm over NATS: a transport and a discovery for sites that can only connect to a hub.

Installing the package is enough: `swarm` finds `_plugin` by its entry point. `stream` makes a reliable byte stream of
messages that may be lost, `tunnel` carries connections of gRPC over such streams, `transport` is that of a session,
`discovery` keeps announcements in a key-value bucket, and `hub` is the connection to the hub. `settings` reads the
variables `SWARM_NATS_*`.
"""
