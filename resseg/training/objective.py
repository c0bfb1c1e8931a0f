"""What a train step differentiates: the loss of all scores that a network puts out."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from resseg.gradients.names import LEVEL
from resseg.training.losses import Loss
from resseg.training.optim import Numbers

Batch = Mapping[str, jax.Array]
OTHER, SHARE = "other", "share"  # labels that are mixed in, and how much is not of them
_MIXUP = 1 << 30  # of the random stream: no number of a part of a batch


def total_loss(
    loss: Loss, outputs: Mapping[str, jax.Array], batch: Batch, numbers: Numbers
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of a batch with its auxiliary terms, and all terms before their weights.

    That of the auxiliary head counts `aux_weight`. The one of the decoder's i-th level
    before the last counts `level_weight` / 2**(i - 1), so that at a weight of 1/2 each
    level counts half of the next finer one, as in nnU-Net (Isensee 2021); there labels
    are made smaller, here scores larger.

    Args:
        loss: of logits and labels.
        outputs: of the network.
        batch: with "label", and what `mixed_up` adds.
        numbers: `TrainState.numbers`.
    """
    value, terms = _of_labels(loss, outputs["logits"], batch)
    if "aux" in outputs:
        terms["aux"], _ = _of_labels(loss, outputs["aux"], batch)
        value = value + numbers["aux_weight"] * terms["aux"]
    levels = [name for name in outputs if name.startswith(LEVEL)]
    if levels:
        terms["levels"] = jnp.zeros(())
        for name in levels:
            share = 0.5 ** (int(name.removeprefix(LEVEL)) - 1)
            each, _ = _of_labels(loss, outputs[name], batch)
            terms["levels"] += share * each
        value = value + numbers["level_weight"] * terms["levels"]
    return value, terms


def _of_labels(
    loss: Loss, logits: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Against both labels of a pixel where two images are mixed."""
    value, terms = loss(logits, batch["label"])
    if OTHER not in batch:
        return value, terms
    share = batch[SHARE]
    other, more = loss(logits, batch[OTHER])
    mixed = {name: share * terms[name] + (1 - share) * more[name] for name in terms}
    # Of the labels that count more, which confusion matrix and log are about.
    mixed["loss_pixels"] = terms["loss_pixels"]
    return share * value + (1 - share) * other, mixed


def mixed_up(batch: Batch, key: jax.Array, numbers: Numbers) -> Batch:
    """The images mixed with the next one of the batch each, if `mixup` is a number.

    x = s x + (1 - s) x', and the loss is s L(y) + (1 - s) L(y') (Zhang 2018, eq. 2). s
    is the larger of l and 1 - l, l ~ Beta(mixup, mixup), one draw per batch as in the
    authors' code: "label" is then that of the image which shows more.

    Args:
        batch: "image" `[batch, height, width, 3]` and "label" `[batch, height, width]`.
        key: of the step.
        numbers: `TrainState.numbers`.
    """
    if "mixup" not in numbers:
        return batch
    drawn = jax.random.fold_in(key, _MIXUP)
    share = jax.random.beta(drawn, numbers["mixup"], numbers["mixup"])
    share = jnp.maximum(share, 1 - share)
    image, label = batch["image"], batch["label"]
    return {
        **batch,
        "image": share * image + (1 - share) * jnp.roll(image, -1, axis=0),
        OTHER: jnp.roll(label, -1, axis=0),
        SHARE: share,
    }
