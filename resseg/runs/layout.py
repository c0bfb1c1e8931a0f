"""The names of what a run folder holds, said once."""

CONFIG = "config.json"  # the resolved config; loads to the same run again
ENVIRONMENT = "environment.json"  # versions, devices, commit, each start
METRICS = "metrics.jsonl"  # what the computation says: equal for equal runs
TIMING = "timing.jsonl"  # what the clock says: never equal
GRADIENTS = "gradients"  # parquet parts, one row per step x fork x path
BLOCKS = "blocks"  # parquet parts, one row per step x block
EVENTS = "events"  # TensorBoard event files
TRACKERS = "trackers"  # by which W&B and its like know the run, a file each
LOCK = "lock"  # held by the process that trains here
NETWORK = "network.json"  # title, parameters, multiply-accumulates of one crop
STATUS = "status.json"  # attempts of a sweep at this run: when, where, how each ended
CLAIM = "claim"  # locked by the worker of a sweep that is at this run
AUTOPSY = "autopsy"  # the step that was not finite: batch, state, what was found
DROPPED = "dropped.json"  # batches left out of its data, as they were not finite
UNREAD = "unread.json"  # images that could not be read and were replaced
LOG = "log.txt"  # what a run of a sweep printed
CALIBRATION = "calibration.json"  # temperatures of `resseg calibrate`, by checkpoint
DATASET = "dataset.json"  # name, classes and splits of the data it was trained on
CHECKPOINTS = "checkpoints"  # the latest state to go on from, and those kept for good
DAMAGED = "damaged"  # checkpoints that a run went on without
CHECKSUMS = "SHA256SUMS"  # in a checkpoint: of its files, as `sha256sum -c` reads them
BEST = "best"  # weights with the best mean IoU so far
ITEM_INDEX = "_METADATA"  # in an item of a checkpoint: orbax's list of its arrays
ITEM_JSON = "metadata"  # in an item that is JSON
WEIGHTS_INDEX = f"variables/{ITEM_INDEX}"  # in a checkpoint: that of its weights
EVALUATIONS = "evaluations"  # scores of `resseg evaluate`, a file each
PREDICTIONS = "predictions"  # overlays of the last evaluation
PREDICTION_INDEX = "index.json"  # in there: confusion matrix, score of every image
SAMPLES = "samples"  # in there: the best, the median and the worst image
HEATMAP = "gradients.png"  # drawn after training, and by `resseg inspect`
PROBES = "probes"  # tables and figures of `resseg probe`

IMPORTED = "imported.json"  # layout and file of the torch weights it was made of

INITIAL = "initial.json"  # where its first weights are from
LOGS = (METRICS, TIMING, GRADIENTS, BLOCKS, EVENTS)  # written while training
FILES = (
    *(CONFIG, ENVIRONMENT, METRICS, TIMING, LOCK, NETWORK, STATUS, CLAIM, LOG),
    *(DATASET, HEATMAP, INITIAL, DROPPED, UNREAD, f"{PREDICTIONS}/{PREDICTION_INDEX}"),
    CALIBRATION,
)
FOLDERS = (
    *(GRADIENTS, BLOCKS, EVENTS, CHECKPOINTS, BEST, PREDICTIONS, AUTOPSY),
    *(DAMAGED, EVALUATIONS, TRACKERS),
    f"{PREDICTIONS}/{SAMPLES}",
)
