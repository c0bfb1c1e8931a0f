"""Our side of `benchmarks.step`: a process that steps a network of resseg when told.

    python -m benchmarks.our_side NETWORK train|infer taps|plain WEIGHTS

WEIGHTS are torch's, or "" where a network is ours. As `benchmarks.torch_side`.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.networks import (
    CLASSES,
    DECAY,
    MOMENTUM,
    NETWORKS,
    RATE,
    Network,
    answer,
)
from benchmarks.peak import peak
from resseg import xla
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.interop.convert import from_torch
from resseg.training import recipe
from resseg.training.steps import init_state, make_train_step

PLAIN_SGD = {
    "optim.name": "sgd",
    "optim.learning_rate": RATE,
    "optim.momentum": MOMENTUM,
    "optim.weight_decay": DECAY,
    "optim.schedule": "constant",
    "optim.warmup_steps": 0,
    "optim.clip_norm": None,
    "optim.ema": 0.0,
    "loss.terms.cross_entropy": 1.0,
    "loss.terms.dice": 0.0,
}


class Stepper:
    """Steps one network on one batch."""

    def __init__(self, network: Network, mode: str, taps: bool, weights: str):
        keys: dict[str, Any] = PLAIN_SGD | {
            "data.batch_size": network.batch,
            "data.crop": (network.side, network.side),
            "model.dtype": network.dtype,
        }
        variables, name = None, network.name
        if weights:
            with np.load(weights) as tensors:
                named, variables = from_torch(network.layout, dict(tensors))
            keys, name = keys | named, "base"
        config = load_config(name, keys)
        self.blueprint = Blueprint.of(config, CLASSES)
        if variables is None:
            variables = jax.jit(self.blueprint.drawing())(jax.random.key(0))
        variables |= {"paths": self.blueprint.paths(config)}
        variables = jax.tree.map(jnp.asarray, variables)
        draw, batch = np.random.default_rng(0), network.batch if mode == "train" else 1
        size = (batch, network.side, network.side)
        image = draw.normal(size=(*size, 3)).astype(np.float32)
        label = draw.integers(0, CLASSES, size).astype(np.int32)
        self.batch = jax.device_put({"image": image, "label": label})
        self.key = jax.random.key(0)
        if mode == "train":
            self.state = self.start(config, variables)
            step = make_train_step(
                self.blueprint.model,
                recipe.optimizer_of(config),
                recipe.build_loss(config, CLASSES),
                self.blueprint.zero_taps() if taps else {},
                num_classes=CLASSES,
            )
            self.compiled = jax.jit(step, donate_argnums=0)
            self.step, self.passes = self.train, 3
        else:
            model = self.blueprint.model
            self.variables = variables
            self.compiled = jax.jit(
                lambda variables, image: model.apply(variables, image)["logits"].sum()
            )
            self.step, self.passes = self.infer, 1

    def start(self, config: Any, variables: Any) -> Any:
        optimizer, _ = recipe.build_optimizer(config)
        state = init_state(variables, optimizer, ema=False)
        return state.replace(numbers=jax.device_put(recipe.numbers(config)))

    def train(self) -> jax.Array:
        self.state, said = self.compiled(self.state, self.batch, self.key)
        return said["scalars"]["loss"]

    def infer(self) -> jax.Array:
        return self.compiled(self.variables, self.batch["image"])

    def flops(self) -> float:
        """Of a step: two for each multiply-accumulate, thrice that with gradients."""
        return 2.0 * self.blueprint.macs * len(self.batch["image"]) * self.passes


def main(name: str, mode: str, taps: str, weights: str) -> None:
    network = NETWORKS[name]
    stepper = Stepper(network, mode, taps == "taps", weights)
    versions = f"JAX {jax.__version__}" + (", oneDNN" if xla.has_onednn() else "")
    device = jax.devices()[0].device_kind
    said = {"parameters": stepper.blueprint.params, "version": versions}
    said |= {"flops": stepper.flops(), "peak": peak(network.dtype)}
    answer(stepper.step, said | {"device": device, "platform": jax.default_backend()})


if __name__ == "__main__":
    main(*sys.argv[1:])
