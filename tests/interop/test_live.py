"""The real networks of torch side by side with these, where torch is installed.

pip install -e '.[interop]' && pytest -m slow tests/interop/test_live.py
"""

import importlib.util

import numpy as np
import pytest
from drawn import EVEN, NAMES, STEP_BATCH, STEPS, key, size, stands_still, weights
from jax_side import Ported, difference

needed = ("torch", "torchvision", "timm", "segmentation_models_pytorch")
for library in needed:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed", allow_module_level=True)

import torch_side  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ODD, FAR = (97, 131), (305, 337)  # FAR: a dilation of 36 reaches more than padding


def sizes(layout, name):
    """Odd, but for smp's but Unet, which take multiples of their output stride."""
    fixed = layout == "smp" and not name.startswith("Unet_")
    yield (96, 128) if fixed else ODD
    if name in ("deeplabv3_resnet50", "DeepLabV3_resnet50", "DeepLabV3Plus_resnet18"):
        yield (304, 336) if fixed else FAR


@pytest.mark.parametrize(
    ("layout", "name", "aux"), NAMES, ids=[key(*case) for case in NAMES]
)
def test_scores_agree(layout, name, aux):
    module = torch_side.load(torch_side.build(layout, name, aux))
    shapes = torch_side.shapes(module)
    ported = Ported(layout, weights(shapes))
    assert ported.tensors().keys() == shapes.keys()
    for height, width in sizes(layout, name):
        theirs = torch_side.scores(module, height, width)
        ours = ported.scores(height, width)
        assert ours.keys() == theirs.keys()
        for output, scores in theirs.items():
            assert difference(ours[output], scores) < 1e-4


@pytest.mark.parametrize(
    ("layout", "name", "aux"), STEPS, ids=[key(*case) for case in STEPS]
)
def test_a_training_step_agrees(layout, name, aux):
    module = torch_side.load(torch_side.build(layout, name, aux))
    before = weights(torch_side.shapes(module))
    image = size(layout, name)
    ours = Ported(layout, before, dropout=False).step(STEP_BATCH, *image)
    theirs = torch_side.step(module, STEP_BATCH, *image)
    for at, start in before.items():
        if start.ndim and not stands_still(at, key(layout, name, aux)):
            assert difference(ours[at], theirs[at]) < 1e-3, at
            moved = theirs[at].astype(float) - start
            off = np.linalg.norm(ours[at] - start - moved)
            rounding = 1e-7 * np.linalg.norm(start)
            assert off < 0.02 * np.linalg.norm(moved) + rounding, at


def test_scores_of_torchvisions_lraspp_on_a_resnet_agree():
    module = torch_side.load(torch_side.lraspp())
    shapes = torch_side.shapes(module)
    ported = Ported("torchvision", weights(shapes))
    assert ported.tensors().keys() == shapes.keys()
    assert ported.config.model.head.name == "lraspp"
    theirs = torch_side.scores(module, *ODD)["out"]
    assert difference(ported.scores(*ODD)["out"], theirs) < 1e-5


@pytest.mark.parametrize("layout", ["torchvision", "timm", "smp"])
def test_torch_takes_our_state_dict(layout):
    """strict=True: every name, every shape; and its scores are ours again."""
    name = {"timm": "resnetv2_50", "smp": "Unet_resnet18"}.get(layout, "resnet18")
    module = torch_side.build(layout, name)
    ported = Ported(layout, weights(torch_side.shapes(module)))
    torch_side.put(module, ported.tensors())
    theirs = torch_side.scores(module, *EVEN)["out"]
    assert difference(ported.scores(*EVEN)["out"], theirs) < 1e-4


def test_torch_files_are_read(tmp_path):
    from resseg.interop import read_weights

    module = torch_side.load(torch_side.build("torchvision", "resnet18"))
    wanted = weights(torch_side.shapes(module))
    for number, content in enumerate(
        (module.state_dict(), {"model": module.state_dict(), "epoch": 3})
    ):
        file = tmp_path / f"{number}.pth"
        torch_side.torch.save(content, file)
        found = read_weights(file)
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("damage", ["truncated", "code", "list"])
def test_torch_files_that_are_refused(tmp_path, damage):
    from resseg.errors import UserError
    from resseg.interop import read_weights

    file, torch = tmp_path / "weights.pth", torch_side.torch
    if damage == "truncated":
        torch.save({"a": torch.zeros(1000)}, file)
        file.write_bytes(file.read_bytes()[:500])
    else:
        torch.save({"code": Danger()} if damage == "code" else [torch.zeros(1)], file)
    with pytest.raises(UserError, match=r"weights\.pth"):
        read_weights(file)


class Danger:
    """What a pickle may hold and a file of weights may not."""
