"""The figure of README.md: a prediction of a run above its gradient flow.

python docs/overview.py RUN [--picture NAME] [--out FILE]

Both pictures are those that training left in the run folder.
"""

import argparse
from pathlib import Path

from PIL import Image

_WIDTH = 1500  # pixels
_GAP = 16


def stack(paths: list[Path]) -> Image.Image:
    """The pictures below each other on white, each as wide as the sheet."""
    pictures = [Image.open(path).convert("RGB") for path in paths]
    pictures = [
        picture.resize((_WIDTH, round(picture.height * _WIDTH / picture.width)))
        for picture in pictures
    ]
    height = sum(picture.height + _GAP for picture in pictures) - _GAP
    sheet = Image.new("RGB", (_WIDTH, height), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height + _GAP
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--picture", help="of RUN/predictions (default: the first)")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "overview.png"
    )
    args = parser.parse_args()
    predictions = args.run / "predictions"
    name = args.picture or min(path.name for path in predictions.glob("*.png"))
    stack([predictions / name, args.run / "gradients.png"]).save(args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
