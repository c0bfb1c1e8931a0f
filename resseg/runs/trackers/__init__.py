"""Where else a run is written down: trackers of experiments, each in its own module."""
