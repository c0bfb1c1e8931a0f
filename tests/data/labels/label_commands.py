"""`resseg data` in this process, and what it stored."""

import contextlib
import io

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from resseg.cli.main import main
from resseg.data import sources


def call(*words):
    """Exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(["data", *map(str, words)])
        except SystemExit as error:
            status = error.code
    return status, out.getvalue(), err.getvalue()


def stored(data, name="set", what="mask"):
    """Mask or image by name, as Pillow decodes what was stored."""
    config = ConfigDict({"name": name, "dir": str(data)})
    found = {}
    for split in sources.dataset_spec(config).splits:
        source = sources.open_split(config, split)
        for index in range(len(source)):
            label, image, mask = source.stored(index)
            content = {"image": image, "mask": mask}[what]
            found[label.decode()] = np.array(Image.open(io.BytesIO(content)))
    return found
