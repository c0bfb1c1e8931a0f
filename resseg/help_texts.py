"""What `resseg --help` and `resseg COMMAND --help` teach."""

COMMANDS = {
    "train": "train what a config describes, or resume where it stopped",
    "evaluate": "score a trained run on a split",
    "predict": "segment your images with a trained run",
    "inspect": "show the gradient flow of a run",
    "report": "write a page that shows a run, a few side by side, or a sweep",
    "board": "show the newest report in a browser while runs go on",
    "probe": "measure a run, or a network as it starts, on demand",
    "sweep": "train the runs of a study",
    "table": "show what came out of a sweep, with intervals",
    "runs": "list the runs in a folder",
    "config": "print a config, check it, compare it with another",
    "describe": "show the network of a config: parts, shapes, costs, what it sees",
    "import": "make a run of the weights of a torch network",
    "data": "prepare, check and show data sets",
}

EPILOGS = {
    "": """\
start here:
  resseg train --config configs/quickstart.py --workdir runs/quickstart
  resseg inspect runs/quickstart
  resseg report runs/quickstart

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
    "sweep": """\
examples:
  resseg sweep experiments/shortcut_gradient --list
  resseg sweep experiments/shortcut_gradient --workdir sweeps/shortcut_gradient
  resseg sweep experiments/shortcut_gradient --workdir sweeps/shortcut_gradient \\
      --only '*optim.name=sgd*' --dry-run
  resseg sweep STUDY --workdir DIR --jobs 4
  resseg sweep STUDY --workdir DIR --launcher slurm --jobs 8 \\
      --slurm partition=gpu --slurm gpus-per-node=1 --slurm time=4:00:00

A study is a file with a question, a CONFIG and runs(), the overrides of each run. All
are validated before the first starts. Kill it at any time: the same command run again
skips what is finished and goes on where a run was cut; two of them on one folder share
the work. DIR/ID is a run folder like any other; `resseg table DIR` has the answer.""",
    "table": """\
examples:
  resseg table sweeps/shortcut_gradient
  resseg table sweeps/shortcut_gradient --by data.name,optim.name --metric train_loss
  resseg table sweeps/shortcut_gradient --baseline gradient.shortcut=0.5
  resseg table sweeps/shortcut_gradient --out answer.md
  resseg table sweeps/shortcut_gradient --check   (exit status 1 unless claims hold)

One row per variant, the runs that differ in the seed alone: mean and 95 % interval over
seeds (Student's t), then the mean difference to the baseline run of the same seed with
its 95 % interval (bootstrap). Below stand the runs that are not finished, what else
differs between runs, and the claims of the study. A sweep may still be going on.

metrics:
  mean_iou, mean_dice, mean_boundary_iou, mean_class_accuracy, pixel_accuracy
  train_loss             mean of the last 5 logged rows
  log10_first_over_last  of the gradient at the first block over that at the last
  shortcut_share         of the squared gradient, mean over blocks""",
    "runs": """\
examples:
  resseg runs sweeps/shortcut_gradient
  resseg runs runs
  resseg runs runs --json

Of a sweep it shows what each run overrides, of any other folder in what each run
differs from the first. stopped = nobody trains it, and it has not reached its last
step; broken off = its process was killed; age = since it last wrote anything.""",
    "inspect": """\
examples:
  resseg inspect runs/quickstart
  resseg inspect runs/quickstart --steps 1,50,300   (profiles at these steps)
  resseg inspect runs/quickstart --fork stage1 --steps 100: --csv rows.csv
  resseg inspect runs/quickstart runs/half-gradient   (run against run)
  resseg inspect --columns   (what each column means)

Little lines show how a norm (log scale of its own, a decade at least) or a share (0 to
1) went over the steps: x = not finite, _ = exactly 0, ? = not defined. A block vanishes
or explodes where its norm is a thousandth or a thousand times that of the last block.
Runs whose norms mean different things (resolution, batch, loss, clipping) are compared
with --normalized only.""",
    "report": """\
examples:
  resseg report runs/quickstart
  resseg report runs/quickstart --out page.html
  resseg report runs/quickstart --format md
  resseg report --compare runs/quickstart runs/half-gradient
  resseg report sweeps/shortcuts
  resseg report sweeps/shortcuts --metric train_loss --format md

RUN/report.html is one file that needs no server and no network: what stands out first,
then the gradient flow with every fork to click on, curves, classes, predictions, probes
(`resseg probe` beforehand), the config and what differs from the base config. Of a run
that is still being written it shows what there is; write it again later. --format md
writes RUN/report.md and its figures into RUN/report.

SWEEP/report.html has the question, the claims, what `resseg table` says, the difference
of every seed to its baseline, curves, gradients of every variant, what a numeric key
does, costs, and every run that is missing. A run in it that has a report.html of its
own is a link.""",
    "board": """\
examples:
  resseg board runs/quickstart
  resseg board sweeps/shortcuts --port 9000
  resseg board runs   (a list, with a page for each)

Prints an address to open. The page is made again when a run has written something, and
loads itself again; what is chosen on it stays. Only this machine can see it (from
another: ssh -L 8710:127.0.0.1:8710 HOST), unless --host names another address, where
anybody who reaches it may read it. Nothing is written into DIR, and nothing is served
but the pages.""",
    "config": """\
examples:
  resseg config configs/quickstart.py
  resseg config configs/quickstart.py --config.model.head.name=fcn
  resseg config configs/nuclei/unet.py --diff configs/nuclei/fcn.py
  resseg config runs/quickstart --diff configs/quickstart.py

A star marks what differs from the base config, where every key is explained.""",
    "describe": """\
examples:
  resseg describe --config configs/quickstart.py
  resseg describe --config runs/quickstart --size 512x512
  resseg describe --config configs/nuclei/unet.py --config.model.backbone.depth=50 \\
      --classes 21 --json

One row per stage, block and fork, in depth order; a row sums up the indented ones below
it. str. = stride, dil. = dilation, field = receptive field in pixels, MACs =
multiply-accumulates of the convolutions for one image. A terminal too narrow for all
columns shows fewer; a pipe gets all. Nothing is computed and no device is needed.""",
    "import": """\
examples:
  resseg import --layout torchvision --arch deeplabv3_resnet50 \\
      --weights deeplabv3_resnet50_coco.pth --workdir runs/voc
  resseg predict runs/voc photos --out segmented

  resseg import --layout smp --arch Unet_resnet34 --weights unet.safetensors \\
      --workdir runs/cells --classes background,cell --data cells
  resseg evaluate runs/cells

  resseg import --layout timm --arch resnet50d --weights resnet50d.safetensors \\
      --workdir runs/backbone

architectures:
  torchvision  resnet18 34 50 101 152, resnext50_32x4d, resnext101_32x8d and _64x4d,
               wide_resnet50_2 and 101_2; fcn_ and deeplabv3_ with resnet50 or 101
  timm         resnet18 34 50 101 152, resnet50d, seresnet50, resnetv2_50
  smp          Unet_, DeepLabV3_ and DeepLabV3Plus_ with resnet18, 34, 50 or 101

Every tensor must be there with its shape, and none left over. Training goes on from
such a run with --config RUN --init-from RUN. A classification network has no head: put
one on it with --config.init.backbone_from=RUN. A .pth file is read with torch
(pip install 'resseg[interop]'), the others without.""",
    "data": """\
examples:
  resseg data list
  resseg data prepare cells --images photos --masks masks --classes background,cell
  resseg data check cells
  resseg data show cells --out cells.png""",
}
