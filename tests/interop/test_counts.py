"""Parameters and multiply-accumulates of networks of segmentation_models.pytorch 0.6.

For 21 classes and 512 x 512 pixels. Counted on its own modules by
`sum(p.numel() for p in module.parameters())` and by half of what
`torch.utils.flop_counter.FlopCounterMode` counts (torch 2.13).
"""

import pytest
from drawn import CLASSES
from jax_side import BASE

from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.interop import LAYOUTS

SIZE = (512, 512)
# Parameters; those that are held and never computed; multiply-accumulates.
COUNTS = {
    "Unet_resnet18": (14_331_109, 0, 22_347_251_712),
    "FPN_resnet18": (13_049_813, 0, 17_798_529_024),
    "FPN_resnet50": (26_118_613, 0, 31_186_747_392),
    "PSPNet_resnet18": (11_422_005, 10_493_440, 6_113_402_880),
    "PSPNet_resnet50": (24_393_173, 22_063_104, 12_022_054_912),
    "Linknet_resnet18": (11_664_437, 0, 10_624_172_032),
    "Linknet_resnet50": (31_178_437, 0, 29_246_881_792),
    "UnetPlusPlus_resnet18": (15_973_349, 0, 64_625_836_032),
    "UnetPlusPlus_resnet50": (48_988_645, 0, 230_518_947_840),
    "PAN_resnet18": (11_373_436, 0, 16_568_191_648),
    "PAN_resnet50": (24_265_596, 0, 34_732_067_488),
    "MAnet_resnet18": (21_678_373, 0, 24_381_511_680),
    "MAnet_resnet50": (147_442_893, 0, 75_166_467_072),
    "UPerNet_resnet18": (19_496_661, 0, 62_283_579_392),
    "UPerNet_resnet50": (37_289_813, 0, 76_496_764_928),
    "DeepLabV3Plus_resnet18": (12_334_437, 0, 18_331_860_992),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name.endswith("18") else pytest.mark.slow)
        for name in COUNTS
    ],
)
def test_parameters_and_multiply_accumulates_are_the_librarys(name):
    layout = LAYOUTS["smp"]
    overrides = layout.overrides(layout.architectures[name])
    blueprint = Blueprint.of(load_config(BASE, overrides), CLASSES, SIZE)
    params, dead, macs = COUNTS[name]
    assert (blueprint.params, blueprint.macs) == (params - dead, macs)
