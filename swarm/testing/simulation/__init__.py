"""Runs whole swarms in one thread on a virtual clock, through faults drawn from a seed, and checks every step.

The round machines are those of production. Network, exchange and models are simulated: a model is the set of training
steps that went into it, so that a step that is lost, torn or merged twice shows. The same seed gives the same run.
"""
