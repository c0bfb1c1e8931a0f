"""Two back ends of one measurement: equal to the last bit, whatever is around them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.gradients import measure
from resseg.gradients.fork import HAS_LOGS, TAPS, Fork
from resseg.gradients.measure import by_logs, by_taps

WIDTH, BATCH = 8, 8
X = np.random.default_rng(0).normal(size=(BATCH, WIDTH)).astype(np.float32)
logs = pytest.mark.skipif(not HAS_LOGS, reason="this JAX logs no backward pass")


class Block(nn.Module):
    """y = x + h(x) on vectors; as the body of a scan it takes and returns one more."""

    @nn.compact
    def __call__(self, x, _=None):
        shortcut, branch = Fork("block", ("shortcut", "branch"), (0.5, 1.0))(x)
        y = shortcut + nn.Dense(WIDTH)(jnp.tanh(branch))
        return y, None


class Net(nn.Module):
    """A stem, three blocks lifted by `lift`, and a pyramid of three paths."""

    lift: str = ""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="stem")(x)
        collections = {"params": 0, "paths": 0, "taps": 0, "logs": 0}
        if self.lift == "scan":
            split = {"params": True}
            scan = nn.scan(Block, collections, split_rngs=split, length=3)
            x, _ = scan(name="blocks")(x, None)
        else:
            block = {"": Block, "remat": nn.remat(Block), "jit": nn.jit(Block)}
            for i in range(3):
                x, _ = block[self.lift](name=f"block{i}")(x)
        paths = Fork("pyramid", ("a", "b", "c"), name="pyramid")(x)
        return sum(jnp.sin((i + 1.3) * path) for i, path in enumerate(paths))


def prepared(net=None, twice=False):
    """A loss of (images, params, collections), parameters and zeros for the taps."""
    net = net or Net()
    variables = net.init(jax.random.key(0), X)

    def loss(x, params, collections):
        held = {"params": params, "paths": variables["paths"], **collections}
        y = net.apply(held, x)
        y = net.apply(held, y) if twice else y
        return jnp.mean(jnp.square(y)), y

    return loss, variables["params"], variables[TAPS]


def assert_same_bits(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def compare(of):
    """`of` with either back end returns the same, and something is measured: that."""
    taps, logged = of(by_taps), of(by_logs)
    assert_same_bits(taps, logged)
    forks = jax.tree.leaves(logged[-1], is_leaf=lambda leaf: hasattr(leaf, "squares"))
    assert all(np.all(np.asarray(fork.squares) > 0) for fork in forks) and forks
    return logged[-1]


@logs
@pytest.mark.parametrize("jit", [jax.jit, lambda function: function])
def test_alone_and_under_jit(jit):
    loss, params, taps = prepared()
    compare(
        lambda measured: jit(
            lambda x: measured(functools.partial(loss, x), params, taps)
        )(X)
    )


@logs
def test_under_vmap():
    loss, params, taps = prepared()
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, 0.5 * leaf]), params)
    compare(
        lambda measured: jax.jit(
            jax.vmap(
                lambda params, x: measured(functools.partial(loss, x), params, taps)
            )
        )(stacked, np.stack([X, X**2]))
    )


@logs
def test_with_everything_computed_again():
    loss, params, taps = prepared()
    compare(
        lambda measured: jax.jit(
            lambda x: measured(jax.checkpoint(functools.partial(loss, x)), params, taps)
        )(X)
    )


@logs
@pytest.mark.parametrize("lift", ["remat", "scan"])
def test_of_lifted_blocks(lift):
    """A scan stacks what its blocks measure, in the order of the signal."""
    loss, params, taps = prepared(Net(lift))
    found = compare(
        lambda measured: jax.jit(
            lambda x: measured(functools.partial(loss, x), params, taps)
        )(X)
    )
    if lift == "scan":
        (stacked,) = [forks for name, forks in found.items() if "blocks" in name]
        assert stacked.squares.shape == (3, 2)
        assert stacked.total_square[0] != stacked.total_square[2]


@logs
def test_with_gradients_accumulated_by_a_scan():
    loss, params, taps = prepared()

    def accumulated(measured):
        @jax.jit
        def run(parts):
            def of(part):
                return measured(functools.partial(loss, part), params, taps)[1:]

            def add(sums, part):
                return jax.tree.map(jnp.add, sums, of(part)), None

            zeros = jax.tree.map(jnp.zeros_like, of(parts[0]))
            return jax.lax.scan(add, zeros, parts)[0]

        return run(X.reshape(4, BATCH // 4, WIDTH))

    compare(accumulated)


@logs
def test_on_four_devices():
    loss, params, taps = prepared()
    mesh = sharding.make_mesh(4)
    x = sharding.put_batch({"x": X}, sharding.by_batch(mesh))["x"]
    assert len(x.sharding.device_set) == 4
    whole = sharding.replicated(mesh)
    compare(
        lambda measured: jax.jit(
            lambda x: measured(functools.partial(loss, x), params, taps),
            out_shardings=whole,
        )(x)
    )


@logs
def test_slices_of_several_devices_log_each_their_own():
    """As runs that are trained together: a `vmap` inside a `shard_map`."""
    loss, params, taps = prepared()
    mesh = sharding.variants_mesh(sharding.make_mesh(4), 4)
    split = sharding.by_variant(mesh)
    stacked = np.stack([X * scale for scale in (1, 2, 3, 4)]).astype(np.float32)

    def of(measured):
        step = jax.vmap(lambda x: measured(functools.partial(loss, x), params, taps))
        mapped = jax.shard_map(
            step, mesh=mesh, in_specs=split.spec, out_specs=split.spec, check_vma=False
        )
        return jax.jit(mapped)(jax.device_put(stacked, split))

    totals = [fork.total_square for fork in compare(of).values()]
    assert all(len(set(np.asarray(total).tolist())) == 4 for total in totals)


@logs
def test_a_fork_that_is_called_twice_adds_up_in_taps_and_is_refused_by_logs():
    loss, params, taps = prepared(twice=True)
    once, *_ = prepared()
    _, _, found = by_taps(functools.partial(loss, X), params, taps)
    _, _, single = by_taps(functools.partial(once, X), params, taps)
    assert found["pyramid"].total_square != single["pyramid"].total_square
    with pytest.raises(ValueError, match="Duplicate backward-pass log key 'pyramid'"):
        by_logs(functools.partial(loss, X), params, taps)


@logs
def test_a_trace_that_modules_share_is_refused_by_logs():
    """`nn.jit` names all blocks after the first; the day this passes logs are ready."""
    loss, params, taps = prepared(Net("jit"))
    _, _, found = by_taps(functools.partial(loss, X), params, taps)
    assert all(fork.total_square > 0 for fork in found.values())
    with pytest.raises(ValueError, match="Duplicate backward-pass log key 'block0"):
        by_logs(functools.partial(loss, X), params, taps)


@logs
def test_a_fork_that_nothing_differentiated_leads_to_is_refused_by_logs():
    class First(nn.Module):
        @nn.compact
        def __call__(self, x):
            shortcut, branch = Fork("block", ("shortcut", "branch"), name="first")(x)
            return shortcut + nn.Dense(WIDTH)(branch)

    loss, params, taps = prepared(First())
    _, _, found = by_taps(functools.partial(loss, X), params, taps)
    assert found["first"].total_square > 0
    with pytest.raises(ValueError, match="no log of the fork first"):
        by_logs(functools.partial(loss, X), params, taps)


def test_a_jax_without_logs_says_so(monkeypatch):
    monkeypatch.setattr(measure, "HAS_LOGS", False)
    loss, params, taps = prepared()
    with pytest.raises(
        NotImplementedError, match="logs nothing out of a backward pass"
    ):
        by_logs(functools.partial(loss, X), params, taps)


@pytest.mark.parametrize("measured", [by_taps, pytest.param(by_logs, marks=logs)])
def test_without_taps_nothing_is_measured(measured):
    loss, params, _ = prepared()
    (value, y), gradients, found = measured(functools.partial(loss, X), params, {})
    assert found == {}
    expected = jax.value_and_grad(lambda p: loss(X, p, {}), has_aux=True)(params)
    assert_same_bits(((value, y), gradients), expected)
