"""Compiled programs on the disk: a second start neither traces nor compiles.

`place` says where they lie and how much room they may take, `entries` how one is
written and trusted, `surroundings` what it holds for, `kept` loads and runs it.
"""
