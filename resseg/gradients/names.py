"""Names that networks give their parts, and that others look for.

Who builds a part, who measures it and who loads its weights take the name from here:
renamed, it is renamed for all of them.
"""

# The ways through a block, which are the paths of its fork; the gate is a module too.
SHORTCUT, BRANCH, GATE = "shortcut", "branch", "gate"
DELTA = "delta"  # of a block: what a branch writes over in the shortcut
SKIP, AUX, DEEPER = "skip", "aux", "deeper"  # at a long skip, at an auxiliary head
LEVEL = "level"  # with a number: scores of a decoder's level before the last
SEGMENT, DOWN = "segment", "down"  # at a level of a feature pyramid

# Modules.
FORK = "fork"  # goes by the name of what contains it
STAGE = "stage"  # with a number
SHORTCUT_FACTOR, BRANCH_FACTOR = "shortcut_factor", "branch_factor"  # W_c and W_r
SKIP_FACTOR = "skip_factor_"  # with a stage: kappa

BACKBONE = "backbone"  # field of the network; AUX is one too
CLASSIFIER = "classifier"
SCORE, UPSAMPLE = "score_", "upsample_"  # with a stage, in an FCN
EXIT = "_exit"  # behind the name of a fork: the norm of what leaves there

# Parameters, or coefficients in the `paths` collection.
FACTOR, BIAS, RATE = "factor", "bias", "rate"
MIXING, READ, WRITE = "mixing", "read", "write"  # of streams; or behind them
LOGITS = "_logits"
BYPASS, DETACH_RATE, BRANCH_OUT = "bypass", "detach_rate", "branch_out"
CLIP_SITES = "clip_sites"
FIRST = "first"  # of a block; the fork in a stage from which it comes
