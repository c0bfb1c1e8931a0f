"""Images and masks: how they are stored, read, augmented and batched.

Importing this package costs numpy alone; the modules are imported by name:
`sources` (data sets on disk), `shapes` (the embedded one), `transforms`
(augmentation), `pipeline` (batches for training and evaluation).
"""

from resseg.data.colors import colorize, overlay, palette
from resseg.data.spec import VOID, DatasetSpec

__all__ = ["VOID", "DatasetSpec", "colorize", "overlay", "palette"]
