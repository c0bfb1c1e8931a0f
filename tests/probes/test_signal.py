"""The signal probe against means that numpy takes, over two batches."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np

from resseg.gradients.joins import Join
from resseg.probes.probe import Options
from resseg.probes.signal import measure

BATCHES = np.random.default_rng(0).normal(1.0, 2.0, (2, 4, 3, 5, 6)).astype(np.float32)


class Scaled(nn.Module, Join):
    """y = 0.5 x + tanh(x)."""

    @nn.compact
    def __call__(self, x, train):
        return self.carried(x) + self.computed(x)

    def carried(self, x):
        return 0.5 * x

    def computed(self, x):
        return jax.numpy.tanh(x)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return Scaled(name="block1")(x, train)


def test_every_column_is_the_mean_over_batches():
    subject = SimpleNamespace(
        model=Net(),
        variables={},
        forks=[SimpleNamespace(name="block1", kind="block")],
        batches=lambda count: ({"image": image} for image in BATCHES[:count]),
    )
    rows = measure(subject, Options(batches=2, seed=0))
    assert rows["fork"] == ["block1"] and rows["depth"] == [0]
    carried, computed = 0.5 * BATCHES, np.tanh(BATCHES)
    total, pixels = carried + computed, (1, 2, 3)
    squares = [np.mean(part**2) for part in (carried, computed)]
    expected = {
        "mean_squared": np.mean(total.mean(pixels) ** 2),
        "variance": np.mean(total.var(pixels)),
        "branch_variance": np.mean(computed.var(pixels)),
        "shortcut_rms": np.sqrt(squares[0]),
        "branch_rms": np.sqrt(squares[1]),
        "fraction": np.sqrt(squares[1] / squares[0]),
        "cosine": np.mean(carried * computed) / np.sqrt(squares[0] * squares[1]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(rows[name], [value], rtol=1e-5, err_msg=name)
