"""Fewer channels in the branches of a trained network; shortcuts stay as they are."""
