"""Measurements on demand: of a trained run, or of a network as it starts."""
