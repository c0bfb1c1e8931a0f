"""What is seen: seed, images, augmentation.

How an image is drawn and augmented happens before the program, which sees arrays of one
shape.
"""

from resseg.config.key import CHANGED, FIXED, FREE, NUMBER, OUTSIDE, SAME, SHAPES, Key
from resseg.config.values import (
    DEGREES,
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    choice,
    folder,
    integer,
    integers,
    real,
    reals,
    text,
)

ROWS = (
    Key(
        "seed",
        integer(0, SEED),
        "draws initial weights, data order, augmentation, dropout",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "data.name",
        text("shapes", NAME),
        "shapes, a prepared folder data set, or a catalogue name",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.dir",
        folder("data", NAME),
        "where prepared data sets live",
        (OUTSIDE, FREE, SAME),
    ),
    Key(
        "data.split",
        text("train", NAME),
        "split that is trained on",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.eval_split",
        text("val", NAME),
        "split that is evaluated during and after training",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.batch_size",
        integer(16, POSITIVE),
        "images per step, over all devices",
        (SHAPES, FIXED, CHANGED),
    ),
    Key(
        "data.eval_batch_size",
        integer(8, POSITIVE),
        "images per evaluation step, over all devices",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.threads",
        integer(2, NOT_NEGATIVE),
        "reader threads",
        (OUTSIDE, FREE, SAME),
    ),
    Key(
        "data.workers",
        integer(0, NOT_NEGATIVE),
        "reader processes; 0 reads in this process (best on few cores)",
        (OUTSIDE, FREE, SAME),
    ),
    Key(
        "data.on_error",
        choice("stop", ("stop", "skip")),
        "at a training image that cannot be read: stop, or take the next in its place",
        (OUTSIDE, FREE, SAME),
        later=True,
    ),
    Key(
        "data.cache",
        integer(1024, NOT_NEGATIVE),
        "MiB of decoded images that a process keeps, to decode each once; 0 = none",
        (OUTSIDE, FREE, SAME),
        later=True,
    ),
    Key(
        "data.crop",
        integers((128, 128), POSITIVE, 2),
        "height, width of a training crop, pixels",
        (SHAPES, FIXED, CHANGED),
    ),
    Key(
        "data.scale",
        reals((0.75, 1.5), POSITIVE, 2),
        "range of the random resize before the crop",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.flip",
        real(0.5, SHARE),
        "probability of a horizontal flip",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.vertical_flip",
        real(0.0, SHARE),
        "probability of a vertical flip",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.rotate",
        real(0.0, DEGREES),
        "largest rotation, degrees, uniform in [-rotate, rotate]",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.color",
        real(0.2, SHARE),
        "strength of brightness, contrast and saturation jitter; 0 = off",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.rare_crop",
        real(0.0, SHARE),
        "probability that a crop is drawn around a rare-class pixel",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.rare_classes",
        integers((), NOT_NEGATIVE),
        "class indices that rare_crop aims at; () = the rarest",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.mean",
        reals((0.485, 0.456, 0.406), SHARE, 3),
        "RGB mean subtracted, images in [0, 1]",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "data.std",
        reals((0.229, 0.224, 0.225), POSITIVE, 3),
        "RGB deviation divided by",
        (OUTSIDE, FIXED, SAME),
    ),
    # The procedural data set, where it is named.
    Key(
        "data.shapes.train_images",
        integer(512, POSITIVE),
        "images of the split train",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.shapes.val_images",
        integer(96, POSITIVE),
        "images of the split val",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.shapes.size",
        integers((96, 128), POSITIVE, 2),
        "height, width of an image, pixels",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.shapes.objects",
        integer(9, POSITIVE),
        "objects per image, on average",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.shapes.difficulty",
        real(0.6, SHARE),
        "0 = flat colours, 1 = classes differ by texture alone",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "data.shapes.seed",
        integer(0, SEED),
        "seed of the images themselves, not of training",
        (SHAPES, FIXED, SAME),
    ),
)
