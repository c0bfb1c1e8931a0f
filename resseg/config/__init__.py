"""What may be said: the keys of an experiment, their defaults, types and rules.

Imports no JAX, so that a wrong config is refused before any device is touched.
"""
