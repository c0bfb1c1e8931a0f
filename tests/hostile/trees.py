"""Folders of images and masks as people have them: right, odd, and broken.

A tree is drawn as a list of pairs, each of one kind. The truth of a pair is known
before anything is written: the arrays that its files are made of, or None where no
single mask is meant, so that it has to be refused.
"""

import dataclasses
import io

import hypothesis.strategies as st
import numpy as np
from PIL import Image

CLASSES = ("background", "cell", "edge")
STEMS = (
    *("a", "b.2", "c d", "_e", "ü", "$x_1$", "[void]", "-n", "%s", "{0}", "&amp;"),
    *("'q'", '"q"', "#1", "a,b", "n" * 120, "日本", "\U0001f9a0", "CON", "~", "x;y"),
)


@dataclasses.dataclass
class Pair:
    """One image and its mask.

    Attributes:
        image, mask: content and suffix of the files; None = there is none.
        colors: uint8 `[height, width, 3]`, or None where the format loses some.
        labels: uint8 `[height, width]`, or None where the pair has to be refused.
    """

    image: tuple[bytes, str] | None
    mask: tuple[bytes, str] | None
    colors: np.ndarray | None
    labels: np.ndarray | None


def _encode(array, kind, **options):
    file = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(file, kind, **options)
    return file.getvalue()


def _png(array):
    return _encode(array, "PNG"), ".png"


def _pages(array):
    first, other = Image.fromarray(array), Image.fromarray(255 - array)
    return _encode(first, "TIFF", save_all=True, append_images=[other])


def _turned(array, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encode(array, kind, exif=exif)


def _palette(labels):
    indexed = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    indexed.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    return indexed


def _painted(labels):
    """A mask of three channels that differ: no table says what its colours mean."""
    return np.stack([labels * 100, 255 - labels, labels], axis=2).astype(np.uint8)


def _with(pair, **changed):
    return dataclasses.replace(pair, **changed)


BROKEN = {"labels": None, "colors": None}


# Kind of a pair -> what is other than in a plain one of RGB and grey PNG.
KINDS = {
    "plain": lambda p: {},
    "grey image": lambda p: {
        "image": _png(p.colors[..., 0]),
        "colors": np.repeat(p.colors[..., :1], 3, axis=2),
    },
    "RGBA image": lambda p: {"image": _png(np.dstack([p.colors, p.colors[..., 0]]))},
    "BMP image": lambda p: {"image": (_encode(p.colors, "BMP"), ".bmp")},
    "TIFF image": lambda p: {"image": (_encode(p.colors, "TIFF"), ".tif")},
    "LZW image": lambda p: {
        "image": (_encode(p.colors, "TIFF", compression="tiff_lzw"), ".tiff")
    },
    "JPEG image": lambda p: {
        "image": (_encode(p.colors, "JPEG"), ".jpg"),
        "colors": None,
    },
    "JPEG image named PNG": lambda p: {
        "image": (_encode(p.colors, "JPEG"), ".png"),
        "colors": None,
    },
    "large suffix": lambda p: {"image": (p.image[0], ".PNG")},
    "palette mask": lambda p: {"mask": _png(_palette(p.labels))},
    "TIFF mask": lambda p: {"mask": (_encode(p.labels, "TIFF"), ".tif")},
    "16-bit mask": lambda p: {"mask": _png(p.labels.astype(np.uint16))},
    "void mask": lambda p: {
        "mask": _png(np.full_like(p.labels, 255)),
        "labels": np.full_like(p.labels, 255),
    },
    "grey mask in RGB": lambda p: {"mask": _png(np.dstack([p.labels] * 3))},
    "stray value": lambda p: {"mask": _png(p.labels + 7), "labels": None},
    "painted mask": lambda p: {"mask": _png(_painted(p.labels)), "labels": None},
    "JPEG mask": lambda p: {
        "mask": (_encode(p.labels * 60, "JPEG"), ".jpg"),
        "labels": None,
    },
    "JPEG mask named PNG": lambda p: {
        "mask": (_encode(p.labels, "JPEG"), ".png"),
        "labels": None,
    },
    "pages": lambda p: {"mask": (_pages(p.labels), ".tif"), "labels": None},
    "turned mask": lambda p: {
        "mask": (_turned(p.labels, "PNG"), ".png"),
        "labels": None,
    },
    "turned TIFF mask": lambda p: {
        "mask": (_turned(p.labels, "TIFF"), ".tif"),
        "labels": None,
    },
    "smaller mask": lambda p: {"mask": _png(p.labels[:-1, :-1]), "labels": None},
    "no mask": lambda p: {"mask": None, "labels": None},
    "empty image": lambda p: {"image": (b"", ".png"), **BROKEN},
    "empty mask": lambda p: {"mask": (b"", ".png"), **BROKEN},
    "cut image": lambda p: {
        "image": (p.image[0][: len(p.image[0]) * 2 // 3], ".png"),
        **BROKEN,
    },
    "cut mask": lambda p: {
        "mask": (p.mask[0][: len(p.mask[0]) * 2 // 3], ".png"),
        **BROKEN,
    },
    "text image": lambda p: {"image": (b"no picture\n", ".png"), **BROKEN},
    "page of a browser": lambda p: {"mask": (b"<html>404</html>", ".png"), **BROKEN},
}


def _pair(seed, kind, height, width):
    random = np.random.default_rng(seed)
    colors = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    labels = random.integers(0, len(CLASSES), (height, width)).astype(np.uint8)
    plain = Pair(_png(colors), _png(labels), colors, labels)
    return _with(plain, **KINDS[kind](plain))


# What lies about in folders, and must neither fail nor join the data set.
LITTER = (".DS_Store", "._a.png", "Thumbs.db", "notes.txt", ".hidden.png")


@st.composite
def trees(draw):
    """By split, by stem the pair; and the names of litter. Mostly one odd pair."""
    size = st.integers(2, 9)
    odd = draw(st.sampled_from(sorted(KINDS)))
    stems = draw(st.lists(st.sampled_from(STEMS), min_size=2, max_size=4, unique=True))
    kinds = [odd] + ["plain"] * (len(stems) - 1)
    pairs = {
        stem: _pair(draw(st.integers(0, 2**16)), kind, draw(size), draw(size))
        for stem, kind in zip(stems, kinds, strict=True)
    }
    cut = draw(st.integers(1, len(stems) - 1))
    order = draw(st.permutations(stems))
    splits = {
        "train": {stem: pairs[stem] for stem in order[:cut]},
        "val": {stem: pairs[stem] for stem in order[cut:]},
    }
    return odd, splits, draw(st.lists(st.sampled_from(LITTER), unique=True))


def write(root, splits, litter):
    """The tree on disk, SPLIT/images and SPLIT/masks."""
    for split, pairs in splits.items():
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for stem, pair in pairs.items():
            for kind, file in (("images", pair.image), ("masks", pair.mask)):
                if file is not None:
                    content, suffix = file
                    (root / split / kind / f"{stem}{suffix}").write_bytes(content)
    for name in litter:
        (root / "train" / "images" / name).write_bytes(b"\0\5\x16\7")
