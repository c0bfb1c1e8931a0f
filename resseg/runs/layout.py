"""The names of what a run folder holds, said once."""

CONFIG = "config.json"  # the resolved config; loads to the same run again
ENVIRONMENT = "environment.json"  # versions, devices, commit, each start
METRICS = "metrics.jsonl"  # what the computation says: equal for equal runs
TIMING = "timing.jsonl"  # what the clock says: never equal
GRADIENTS = "gradients"  # parquet parts, one row per step x fork x path
BLOCKS = "blocks"  # parquet parts, one row per step x block
EVENTS = "events"  # TensorBoard event files
LOCK = "lock"  # held by the process that trains here
DATASET = "dataset.json"  # name, classes and splits of the data it was trained on
CHECKPOINTS = "checkpoints"  # the latest state to go on from, and those kept for good
BEST = "best"  # weights with the best mean IoU so far
PREDICTIONS = "predictions"  # overlays of the last evaluation
HEATMAP = "gradients.png"  # written by `resseg inspect`
PROBES = "probes"  # tables and figures of `resseg probe`

IMPORTED = "imported.json"  # layout and file of the torch weights it was made of

LOGS = (METRICS, TIMING, GRADIENTS, BLOCKS, EVENTS)  # written while training
