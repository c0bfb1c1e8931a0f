"""Statistics of batch norms, collected anew for the network as it is now."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from resseg.models.layers import BATCH_MOMENTUM
from resseg.models.network import SegmentationNetwork
from resseg.probes.subject import HostBatch, Subject

Variables = dict[str, Any]


def make_reestimate(
    model: SegmentationNetwork, seed: int = 0
) -> Callable[[Variables, Sequence[HostBatch]], Variables]:
    """Builds `reestimate(variables, batches) -> variables`, compiled once.

    The new running statistics are the plain mean, over the batches, of the means and
    unbiased variances of each; the old ones have no say. Without batch norms the
    variables come back as they are.
    """

    @jax.jit
    def of_batch(variables, images):
        # From running statistics of zero what is kept is the batch's share alone.
        empty = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        _, updated = model.apply(
            variables | {"batch_stats": empty},
            images,
            train=True,
            rngs={"dropout": jax.random.key(seed)},
            mutable=["batch_stats"],
        )
        share = 1 - BATCH_MOMENTUM
        return jax.tree.map(lambda leaf: leaf / share, updated["batch_stats"])

    def reestimate(variables: Variables, batches: Sequence[HostBatch]) -> Variables:
        if not variables.get("batch_stats"):
            return variables
        each = [of_batch(variables, batch["image"]) for batch in batches]
        mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *each)
        return variables | {"batch_stats": mean}

    return reestimate


def settled(subject: Subject, batches: Sequence[HostBatch]) -> Variables:
    """Variables under which each image can be asked by itself.

    A norm that uses the statistics of the batch makes every output a function of every
    image in it. So the statistics are held fixed: those of the checkpoint, or, at
    initialisation, where the running ones say nothing yet, those of `batches`.
    """
    if subject.step:
        return subject.variables
    return make_reestimate(subject.model)(subject.variables, batches)
