"""Heads: features keyed by stage -> class scores, still at the head's resolution."""
