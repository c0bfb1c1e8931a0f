"""What a train step takes of a device's memory, as XLA plans it."""

from typing import Any, NamedTuple

import jax

from resseg import sharding
from resseg.data import DatasetSpec
from resseg.training.prepare import check_shares
from resseg.training.program import Programs, batch_of


class Memory(NamedTuple):
    """Bytes on each device.

    Attributes:
        state: weights, optimizer, statistics, and the batch.
        between: what the step holds besides while it runs, at most.
        results: the log; the new state takes the place of the old one.
    """

    state: int
    between: int
    results: int

    @property
    def total(self) -> int:
        return sum(self)


def estimate(config: Any, num_classes: int) -> Memory:
    """Compiles the train step of a config for the devices here and asks XLA.

    Nothing is trained. What a loader, an evaluation and the libraries take is not in
    it.

    Args:
        config: as `load_config` returns it.
        num_classes: of the data set.

    Raises:
        UserError: devices, or parts of a batch, would not get as many images or rows
            each, or there are fewer devices than `config.mesh` asks for.
    """
    classes = tuple(str(number) for number in range(num_classes))
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.space)
    check_shares(config, mesh)
    program = Programs()(config, DatasetSpec("any", classes, {}), mesh)
    state, key = program.begin(config), jax.random.key(config.seed)
    compiled = program.step.lower(state, batch_of(config), key).compile()
    found = compiled.memory_analysis()
    return Memory(
        found.argument_size_in_bytes,
        found.temp_size_in_bytes,
        found.output_size_in_bytes - found.alias_size_in_bytes,
    )
