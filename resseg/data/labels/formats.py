"""What a format of labels is, and what its reader is asked and answers."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from resseg.data.findings import Finding
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.painting import Objects
from resseg.data.labels.places import Images
from resseg.data.mask_rule import MaskRule
from resseg.data.pairs import WHOLE
from resseg.data.parts import ImagePart, MaskPart
from resseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user says of labels beyond their place; None = nothing.

    Attributes:
        attribute: of a GeoJSON feature that holds its category.
        axis: of volumes that slices are cut across.
        window: values of volumes that become black and white.
        channels: numbers of the channels that become red, green and blue.
    """

    attribute: str | None = None
    axis: int | None = None
    window: tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None


NO_OPTIONS = Options()


class Request(NamedTuple):
    """What a reader is asked.

    Attributes:
        labels: a file, or a folder of them.
        root: folder of the images; None = the user said nothing.
        known: folders of images that were looked through; grows.
        split: of all of them; `WHOLE` = the format may say it.
        options: further ones.
    """

    labels: Path
    root: Path | None
    known: dict[Path, Images]
    split: str = WHOLE
    options: Options = NO_OPTIONS

    def images(self, beside: Path | None = None) -> Images:
        """The images that may be meant: below `--images`, else beside the labels."""
        folder = self.root or beside
        if folder is None:
            folder = self.labels if self.labels.is_dir() else self.labels.parent
        if folder not in self.known:
            self.known[folder] = Images(folder)
        return self.known[folder]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """An image and its labels.

    Attributes:
        name: of the pair; "" = that of its image, see `Images.names`.
        image: a file, or what has to be made.
        content: objects to paint, or a mask with values of its own.
        split: that it belongs to.
        group: what must not be divided between splits; "" = the image alone.
    """

    name: str
    image: Path | ImagePart
    content: Objects | MaskPart | Path
    split: str = WHOLE
    group: str = ""


@dataclasses.dataclass
class Reading:
    """What a reader found.

    Attributes:
        images: with their labels, in order.
        categories: all that the files name, in their order.
        findings: what is wrong or odd.
        classes: what of the categories is trained on, where the format says it.
        rule: what values mean, where masks have some and the format says it.
    """

    images: list[Labelled]
    categories: list[str]
    findings: list[Finding] = dataclasses.field(default_factory=list)
    classes: tuple[str, ...] | None = None
    rule: MaskRule | None = None

    def add(
        self,
        images: Images,
        find: Callable[[], Path],
        where: str,
        content: Objects | Path,
        split: str,
    ) -> None:
        """Adds an image file with its labels, or the finding that there is none.

        Args:
            images: that may be meant.
            find: finds it there.
            where: file and entry of the labels.
            content: the labels.
            split: of the pair.
        """
        try:
            image = find()
            images.take(image, where)
        except UserError as error:
            place, _, message = str(error).partition(": ")
            self.findings.append(Finding("pair", place, message))
        else:
            self.images.append(Labelled("", image, content, split))


@dataclasses.dataclass(frozen=True)
class Format:
    """A row of the table of formats.

    Attributes:
        name: as in `--format`.
        what: it holds, in a few words.
        rasteriser: what its masks equal, pixel for pixel.
        fits: whether files are of this format, by their content.
        read: reads them.
        painted: False where masks hold values, which have a rule.
        rest: class of pixels that no object covers.
        unlisted: what becomes of objects of other categories, see `Scheme`.
        needs: the module that reads or paints it, of the extra `labels`; "" = none.
    """

    name: str
    what: str
    rasteriser: str
    fits: Callable[[Evidence], bool]
    read: Callable[[Request], Reading]
    painted: bool = True
    rest: str = "background"
    unlisted: str = "skip"
    needs: str = ""
