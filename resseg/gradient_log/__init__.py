"""Gradient log."""
