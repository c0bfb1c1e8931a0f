"""The noise-scale probe against gradients taken by hand."""

import jax
import numpy as np
import pytest

from resseg.probes import noise_scale
from resseg.probes.calibration import settled
from resseg.probes.probe import Options


@pytest.fixture(scope="module")
def rows(probed):
    return noise_scale.measure(probed, Options(batches=2))


def test_it_is_that_of_the_gradients_of_single_images(probed, rows, shown):
    table = shown(noise_scale.PROBE, rows).set_index("block")
    batches = list(probed.batches(2))
    variables = settled(probed, batches)
    gradient = jax.jit(
        jax.grad(
            lambda params, batch: probed.total_loss(
                variables | {"params": params}, batch, train=False
            )
        )
    )
    signals, traces, cosines = [], [], []
    for batch in batches:
        each = []
        for i in range(4):
            image = {name: batch[name][i : i + 1] for name in batch}
            leaves = jax.tree.leaves(gradient(variables["params"], image))
            each.append(np.concatenate([np.ravel(leaf) for leaf in leaves]))
        g = np.asarray(each, np.float64)
        off = ~np.eye(4, dtype=bool)
        signals.append((g @ g.T)[off].mean())
        traces.append(g.var(axis=0, ddof=1).sum())
        unit = g / np.linalg.norm(g, axis=1, keepdims=True)
        cosines.append((unit @ unit.T)[off].mean())
    assert (table["images"] == 2 * 4).all()
    whole = table.loc[noise_scale.ALL]
    np.testing.assert_allclose(whole["signal"], np.mean(signals), rtol=1e-4)
    np.testing.assert_allclose(whole["trace"], np.mean(traces), rtol=1e-4)
    np.testing.assert_allclose(whole["cosine"], np.mean(cosines), atol=1e-5)
    np.testing.assert_allclose(
        whole["noise_scale"], np.mean(traces) / np.mean(signals), rtol=1e-3
    )


def test_blocks_come_in_the_order_of_the_signal(rows):
    blocks = rows["block"]
    assert blocks[:3] == [noise_scale.ALL, "backbone/stem", "backbone/stage1/block1"]
    encoder = [block for block in blocks if block.startswith("backbone")]
    assert len(encoder) == 6
    assert blocks.index("backbone/stage2/block2") < blocks.index("head/decoder1")
    assert blocks[-1] == "head/classifier"
    # The blocks share the parameters out among them.
    np.testing.assert_allclose(sum(rows["trace"][1:]), rows["trace"][0], rtol=1e-4)
