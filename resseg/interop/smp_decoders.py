"""Decoders and scores of segmentation_models.pytorch: the tables of `smp.HEADS`."""

from resseg.errors import UserError
from resseg.interop import heads
from resseg.interop.architecture import Architecture
from resseg.interop.backbones import STAGES
from resseg.interop.layers import (
    Layer,
    conv,
    conv_norm,
    group_norm,
    layer_norm,
    norm,
    transposed,
)

SCORES = "segmentation_head.0"
GROUPS = 32  # of the group norms of its FPN
POOLS = (1, 2, 3, 6)
REDUCTION = 16  # of the attention of its MAnet


def _encoder_widths(architecture: Architecture) -> list[int]:
    """Channels of the features, deep first, that of the stem last."""
    widths = map(architecture.stage_width, range(STAGES))
    return [architecture.width, *widths][::-1]


def _scores(architecture: Architecture, inputs: int, kernel: int = 1) -> Layer:
    return heads.scores(SCORES, "head", inputs, architecture.num_classes, kernel)


def unet(architecture: Architecture) -> list[Layer]:
    """The last block has no skip."""
    widths = _encoder_widths(architecture)
    rows, inputs = [], widths[0]
    for level, outputs in enumerate(architecture.decoder):
        skip = widths[level + 1] if level + 1 < len(widths) else 0
        torch, path = f"decoder.blocks.{level}", f"head/decoder{level + 1}"
        rows += _two_convolutions(torch, path, inputs + skip, outputs)
        inputs = outputs
    return [*rows, _scores(architecture, inputs, kernel=3)]


def _two_convolutions(torch: str, path: str, inputs: int, outputs: int) -> list[Layer]:
    rows = conv_norm(f"{torch}.conv1", f"{path}/conv1", inputs, outputs)
    return rows + conv_norm(f"{torch}.conv2", f"{path}/conv2", outputs, outputs)


def deeplabv3(architecture: Architecture) -> list[Layer]:
    width = architecture.head_width
    return [
        *heads.pyramid("decoder.aspp", architecture),
        conv("decoder.conv", "head/conv/conv", width, width, kernel=3),
        norm("decoder.bn", "head/conv/norm", width),
        _scores(architecture, width),
    ]


def deeplabv3plus(architecture: Architecture) -> list[Layer]:
    width, shallow = architecture.head_width, architecture.stage_width(0)
    rows = heads.pyramid("decoder.aspp.0", architecture, depthwise=True)
    after, last = "head/pyramid_conv1", "head/conv1"
    rows += heads.separable("decoder.aspp.1", "decoder.aspp.2", after, width, width)
    rows += conv_norm("decoder.block1", "head/low_level", shallow, 48, kernel=1)
    block = "decoder.block2"
    rows += heads.separable(f"{block}.0", f"{block}.1", last, 48 + width, width)
    return [*rows, _scores(architecture, width)]


def fpn(architecture: Architecture) -> list[Layer]:
    width = architecture.head_width
    said = width // 2
    if said % GROUPS or said < 4 * GROUPS:
        raise UserError(
            f"an FPN of {width} channels has {said} in its {GROUPS} groups, expected "
            f"a multiple of {GROUPS} that is {4 * GROUPS} or more"
        )
    rows = []
    for i, inputs in enumerate(_encoder_widths(architecture)[:STAGES]):
        stage = f"stage{STAGES - i}"
        lateral = f"decoder.p{STAGES + 1 - i}" + (".skip_conv" if i else "")
        place = f"head/lateral_{stage}"
        rows.append(conv(lateral, place, inputs, width, bias=True))
        for step in range(max(STAGES - 1 - i, 1)):
            torch = f"decoder.seg_blocks.{i}.block.{step}.block"
            path = f"head/segment_{stage}_conv{step + 1}"
            before = said if step else width
            rows += [
                conv(f"{torch}.0", f"{path}/conv", before, said, kernel=3),
                group_norm(f"{torch}.1", f"{path}/norm", said),
            ]
    return [*rows, _scores(architecture, said)]


def pspnet(architecture: Architecture) -> list[Layer]:
    inputs, width = architecture.deepest, architecture.head_width
    inner, rows = inputs // 4, []
    for i, size in enumerate(POOLS):
        torch, path = f"decoder.psp.blocks.{i}.pool.1", f"head/pyramid/pool{size}"
        if size > 1:
            rows += conv_norm(torch, path, inputs, inner, kernel=1)
        else:
            bias = Layer(f"{torch}.0", f"{path}/norm", "bias", (inner,))
            rows += [conv(f"{torch}.0", f"{path}/conv", inputs, inner), bias]
    joined = inputs + 4 * inner
    rows += conv_norm("decoder.conv", "head/project", joined, width, kernel=1)
    return [*rows, _scores(architecture, width, kernel=3)]


def linknet(architecture: Architecture) -> list[Layer]:
    widths = [*_encoder_widths(architecture), architecture.head_width]
    rows = []
    for level in range(STAGES + 1):
        inputs, outputs = widths[level : level + 2]
        inner = inputs // 4
        torch, path = f"decoder.blocks.{level}.block", f"head/decoder{level + 1}"
        rows += conv_norm(f"{torch}.0", f"{path}/conv1", inputs, inner, kernel=1)
        rows += [
            transposed(f"{torch}.1.0", f"{path}/up", inner, inner, kernel=4),
            norm(f"{torch}.1.1", f"{path}/norm", inner),
        ]
        rows += conv_norm(f"{torch}.2", f"{path}/conv2", inner, outputs, kernel=1)
    return [*rows, _scores(architecture, widths[-1])]


def unetplusplus(architecture: Architecture) -> list[Layer]:
    """Of the deepest level first, and of a level the nodes that enlarge decoders."""
    deep, *skips = _encoder_widths(architecture)
    widths = architecture.decoder
    rows = []
    for level, skip in enumerate(skips):
        for depth in range(level + 1):
            below = skips[level - 1] if depth else widths[level - 1]
            inputs = below if level else deep
            outputs = skip if depth else widths[level]
            merged = skip * (level + 1 - depth)
            node = f"x_{depth}_{level}"
            torch, path = f"decoder.blocks.{node}", f"head/{node}"
            rows += _two_convolutions(torch, path, inputs + merged, outputs)
    node = f"x_0_{len(skips)}"
    torch, path = f"decoder.blocks.{node}", f"head/{node}"
    rows += _two_convolutions(torch, path, *widths[-2:])
    return [*rows, _scores(architecture, widths[-1], kernel=3)]


def pan(architecture: Architecture) -> list[Layer]:
    inputs, width = architecture.deepest, architecture.head_width
    rows = []

    def add(torch: str, name: str, before: int, after: int, kernel: int) -> None:
        torch, path = f"decoder.{torch}", f"head/{name}"
        rows.append(
            conv(f"{torch}.conv", f"{path}/conv", before, after, kernel, bias=True)
        )
        rows.append(norm(f"{torch}.bn", f"{path}/norm", after))

    add("fpa.branch1.1", "pyramid/pool", inputs, width, 1)
    add("fpa.mid.0", "pyramid/mid", inputs, width, 1)
    add("fpa.down1.1", "pyramid/down1", inputs, 1, 7)
    add("fpa.down2.1", "pyramid/down2", 1, 1, 5)
    add("fpa.down3.1", "pyramid/down3", 1, 1, 3)
    add("fpa.down3.2", "pyramid/down4", 1, 1, 3)
    add("fpa.conv2", "pyramid/conv2", 1, 1, 5)
    add("fpa.conv1", "pyramid/conv1", 1, 1, 7)
    for level in range(STAGES - 1, 0, -1):
        stage, skip = f"stage{level}", architecture.stage_width(level - 1)
        add(f"gau{level}.conv1.1", f"means_{stage}", width, width, 1)
        add(f"gau{level}.conv2", f"skip_{stage}", skip, width, 3)
    return [*rows, _scores(architecture, width, kernel=3)]


def manet(architecture: Architecture) -> list[Layer]:
    deep, *skips = _encoder_widths(architecture)
    width, rows = architecture.head_width, []
    for torch, name, outputs, kernel in (
        ("top", "top", width, 1),
        ("center", "centre", width, 1),
        ("bottom", "bottom", deep, 3),
        ("out", "project", deep, 3),
    ):
        path = f"head/attention/{name}"
        rows.append(
            conv(f"decoder.center.{torch}_conv", path, deep, outputs, kernel, bias=True)
        )
    inputs = deep
    for level, outputs in enumerate(architecture.decoder):
        torch, path = f"decoder.blocks.{level}", f"head/decoder{level + 1}"
        if level < len(skips):
            skip = skips[level]
            rows += _fusion(torch, f"head/fusion{level + 1}", inputs, skip)
            inputs = 2 * skip
        rows += _two_convolutions(torch, path, inputs, outputs)
        inputs = outputs
    return [*rows, _scores(architecture, inputs, kernel=3)]


def _fusion(torch: str, path: str, inputs: int, skip: int) -> list[Layer]:
    rows = conv_norm(f"{torch}.hl_conv.0", f"{path}/conv1", inputs, inputs)
    rows += conv_norm(f"{torch}.hl_conv.1", f"{path}/conv2", inputs, skip, kernel=1)
    inner = max(skip // REDUCTION, 1)
    for gate, of in (("SE_ll", "skip"), ("SE_hl", "deeper")):
        place = f"{path}/gate_{of}"
        rows += [
            conv(f"{torch}.{gate}.1", f"{place}/reduce", skip, inner, bias=True),
            conv(f"{torch}.{gate}.3", f"{place}/expand", inner, skip, bias=True),
        ]
    return rows


def upernet(architecture: Architecture) -> list[Layer]:
    inputs, width = architecture.deepest, architecture.head_width
    widths = _encoder_widths(architecture)[:STAGES]
    rows = [
        layer_norm(f"decoder.feature_norms.{i}", f"head/norm_stage{i + 1}", channels)
        for i, channels in enumerate(widths[::-1])
    ]
    for i, size in enumerate(POOLS):
        torch, path = f"decoder.psp.blocks.{i}.1", f"head/pyramid/pool{size}"
        rows += conv_norm(torch, path, inputs, width, kernel=1)
    joined = inputs + len(POOLS) * width
    rows += conv_norm("decoder.psp.out_conv", "head/pyramid_conv", joined, width)
    for i, channels in enumerate(widths[1:]):
        stage = f"stage{STAGES - 1 - i}"
        lateral = f"decoder.fpn_lateral_blocks.{i}.conv_norm_relu"
        rows += conv_norm(lateral, f"head/lateral_{stage}", channels, width, kernel=1)
        rows += conv_norm(
            f"decoder.fpn_conv_blocks.{i}", f"head/conv_{stage}", width, width
        )
    fused = STAGES * width
    rows += conv_norm("decoder.fusion_block", "head/fusion", fused, width)
    return [*rows, _scores(architecture, width)]
