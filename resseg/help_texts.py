"""What `resseg --help` and `resseg COMMAND --help` teach."""

COMMANDS = {
    "train": "train what a config describes, or resume where it stopped",
    "evaluate": "score a trained run on a split",
    "predict": "segment your images with a trained run",
    "inspect": "show the gradient flow of a run",
    "probe": "measure a run, or a network as it starts, on demand",
    "config": "print a config, check it, compare it with another",
    "data": "prepare, check and show data sets",
}

EPILOGS = {
    "": """\
start here:
  resseg train --config configs/quickstart.py --workdir runs/quickstart
  resseg inspect runs/quickstart

your own images:
  resseg data prepare cells --images photos --masks masks --classes background,cell
  resseg data check cells
  resseg train --config configs/nuclei/unet.py --workdir runs/cells \\
      --config.data.name=cells
  resseg predict runs/cells photos --out segmented

`resseg COMMAND --help` shows the options of a command, with examples.""",
    "train": """\
examples:
  resseg train --config configs/quickstart.py --workdir runs/quickstart
  resseg train --config configs/nuclei/unet.py --workdir runs/no-shortcut \\
      --config.model.shortcut.kind=none --config.seed=1
  resseg train --config configs/nuclei/unet.py --workdir runs/half-gradient \\
      --config.model.gradient.shortcut 0.5 --config.data.crop=128,128

Any key that `resseg config FILE` prints can be set: numbers and names as they are,
lists as 128,128, optional keys also as none. The same command run again resumes the
run. DIR then holds the config, metrics, gradient log, checkpoints and predictions.""",
    "evaluate": """\
examples:
  resseg evaluate runs/quickstart
  resseg evaluate runs/cells --split test
  resseg evaluate runs/cells --data other_cells   (same classes, other images)""",
    "predict": """\
examples:
  resseg predict runs/cells photo.jpg --out segmented
  resseg predict runs/cells photos --out segmented --probabilities

Images may have any size. For each, DIR gets a PNG of class indices and a colour
overlay.""",
    "probe": """\
examples:
  resseg probe runs/quickstart --what signal
  resseg probe runs/quickstart --what profile,jacobian --step 300 --batches 4
  resseg probe --at-init --config configs/quickstart.py --out probes/plain \\
      --what signal --config.model.shortcut.kind=none

Each writes a table, DIR/NAME.parquet, and a figure, DIR/NAME.png.""",
    "inspect": """\
examples:
  resseg inspect runs/quickstart
  resseg inspect runs/quickstart --path shortcut --last 10
  resseg inspect --columns""",
    "config": """\
examples:
  resseg config configs/quickstart.py
  resseg config configs/quickstart.py --config.model.head.name=fcn
  resseg config configs/nuclei/unet.py --diff configs/nuclei/fcn.py
  resseg config runs/quickstart --diff configs/quickstart.py

A star marks what differs from configs/base.py, where every key is explained.""",
    "data": """\
examples:
  resseg data list
  resseg data prepare cells --images photos --masks masks --classes background,cell
  resseg data check cells
  resseg data show cells --out cells.png""",
}
