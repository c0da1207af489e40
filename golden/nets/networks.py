"""Networks as lists of layers: shapes, multiply-accumulates and parameters, no weights.

`build` makes a `Network`. Those of `FUSE_NETWORKS` (ImageNet, 1000 classes) come in the variants of
FuSeConv (DATE 2021): ``baseline``; ``full`` and ``half``, whose depthwise (in ResNet50: 3 x 3)
convolutions are FuSeConv; ``full50`` and ``half50``, where only some blocks are replaced. Those of
`ABCONV_NETWORKS` (CIFAR-100) come as patterns like ``A-P-P``, which go round over the layers
that group selection would replace: P keeps the pointwise convolution, A makes it ABConv, E
ABConv-exp (MLSys 2023 on-device intelligence workshop). Width, strides, classes and the operator of
every block can be others than the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

from report.errors import UserError

from ..arith.window import Padding, Window
from ..workload import Workload
from .abconv import Intensity, check_groups, expansion, select_groups
from .layers import Layer, Network

__all__ = [
    "ABCONV_NETWORKS",
    "ABCONV_STEPS",
    "BLOCK_OPERATORS",
    "FUSE_NETWORKS",
    "FUSE_VARIANTS",
    "NETWORKS",
    "OPERATOR_LETTERS",
    "abconv_layers",
    "build",
    "counted",
    "is_pointwise",
]

FUSE_VARIANTS = ("baseline", "full", "half", "full50", "half50")

#: What the spatial convolution of a block can be.
BLOCK_OPERATORS = ("depthwise", "fuse_half", "fuse_full")
OPERATOR_LETTERS = dict(zip("DHF", BLOCK_OPERATORS, strict=True))

#: Blocks, counted from 1, that full50 and half50 replace. As published, but for ResNet50, where
#: nothing is: there those eight that save most as half, in the model of `sim.paper` at 64 x 64.
REPLACED_50 = {
    "mobilenet_v1": range(1, 6),
    "mobilenet_v2": range(2, 11),
    "mnasnet_b1": range(2, 11),
    "mobilenet_v3_small": (3, 5, 6, 7, 8),
    "mobilenet_v3_large": range(2, 9),
    "resnet50": range(8, 16),
}


@dataclass
class _Chain:
    """Collects layers; remembers the shape between them."""

    channels: int
    size: tuple[int, int]
    classes: int = 1000
    width: float = 1.0
    padding: Padding = None  # None: half of the kernel on every side
    strides: Iterator[int] | None = None  # of stem and stages; None: the published ones
    operator: Callable[[int], str] = lambda block: "depthwise"  # of a block, counted from 1
    unused: int = 0  # parameters
    layers: list[Layer] = field(default_factory=list)
    blocks: int = 0  # that have an operator to choose
    stages: int = 0  # that have asked for a stride, the stem among them
    shrunk: int = 1  # product of all strides

    def add(
        self, name: str, kind: str, c_out: int, *, bias: int = 0, norm: int = 0, **shape: Any
    ) -> None:
        work = Workload.of(kind, self.size, self.channels, c_out, **shape)
        self.layers.append(Layer(name=name, workload=work, bias=bias, norm=norm))
        self.size, self.channels = work.output, c_out

    def wide(self, channels: int) -> int:
        """Return channels times the width, as the MobileNets do: a multiple of 8, at least 0.9."""
        if self.width == 1:
            return channels
        wanted = channels * self.width
        found = max(8, int(wanted + 4) // 8 * 8)
        return found if found >= 0.9 * wanted else found + 8

    def stride(self, published: int) -> int:
        """Return the stride of the next stage."""
        self.stages += 1
        stride = published if self.strides is None else next(self.strides, published)
        self.shrunk *= stride
        return stride

    def around(self, kernel: int) -> Padding:
        """Return the padding of a kernel."""
        return kernel // 2 if self.padding is None else self.padding

    def conv(
        self, name: str, c_out: int, kernel: int = 1, stride: int = 1, bias: bool = False
    ) -> None:
        """Add a convolution; with a bias it has no normalization."""
        self.add(
            name, "conv", c_out, kernel=kernel, stride=stride, padding=self.around(kernel),
            bias=c_out if bias else 0, norm=0 if bias else c_out,
        )  # fmt: skip

    def depthwise(self, block: int, kernel: int, stride: int) -> None:
        """Add a depthwise convolution, or what replaces it."""
        self.blocks = block
        kind = self.operator(block)
        c_out = 2 * self.channels if kind == "fuse_full" else self.channels
        name = f"block{block}.{'depthwise' if kind == 'depthwise' else 'fuse'}"
        self.add(
            name, kind, c_out, kernel=kernel, stride=stride, padding=self.around(kernel),
            norm=c_out,
        )  # fmt: skip

    def linear(self, name: str, c_out: int, bias: bool = True) -> None:
        """Add a fully connected layer on the mean over the image."""
        self.size = (1, 1)
        self.add(name, "linear", c_out, bias=c_out if bias else 0)

    def squeeze_excite(self, block: int) -> None:
        """Add the two layers that weigh the channels; they leave the shape as it is."""
        size, channels = self.size, self.channels
        self.linear(f"block{block}.squeeze", channels // 4, bias=False)
        self.linear(f"block{block}.excite", channels, bias=False)
        self.size = size

    def inverted_residual(
        self, block: int, hidden: int, c_out: int, kernel: int, stride: int, excite: bool = False
    ) -> None:
        """Add expansion to `hidden` channels (none if 0), depthwise and projection."""
        if hidden:
            self.conv(f"block{block}.expand", hidden)
        self.depthwise(block, kernel, stride)
        if excite:
            self.squeeze_excite(block)
        self.conv(f"block{block}.project", c_out)

    def residual_stages(self, settings: list[tuple[int, int, int, int, int]]) -> None:
        """Add stages of inverted residuals: expansion, channels, blocks, first stride, kernel.

        Expansion 1 is none.
        """
        block = 1
        for expand, c_out, count, published, kernel in settings:
            stride = self.stride(published)
            for index in range(count):
                hidden = expand * self.channels if expand > 1 else 0
                self.inverted_residual(
                    block, hidden, self.wide(c_out), kernel, 1 if index else stride
                )
                block += 1


def _mobilenet_v1(chain: _Chain, stem_stride: int = 2) -> None:
    chain.conv("stem", chain.wide(32), 3, chain.stride(stem_stride))
    settings = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    settings += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for block, (c_out, stride) in enumerate(settings, 1):
        chain.depthwise(block, 3, chain.stride(stride))
        chain.conv(f"block{block}.pointwise", chain.wide(c_out))
    chain.linear("classifier", chain.classes)


def _mobilenet_v2(chain: _Chain) -> None:
    chain.conv("stem", chain.wide(32), 3, chain.stride(2))
    chain.residual_stages(
        [
            (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3),
            (6, 96, 3, 1, 3), (6, 160, 3, 2, 3), (6, 320, 1, 1, 3),
        ],
    )  # fmt: skip
    chain.conv("head", max(1280, chain.wide(1280)))
    chain.linear("classifier", chain.classes)


def _mnasnet_b1(chain: _Chain) -> None:
    chain.conv("stem", chain.wide(32), 3, chain.stride(2))
    chain.residual_stages(
        [
            (1, 16, 1, 1, 3), (3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5),
            (6, 96, 2, 1, 3), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
        ],
    )  # fmt: skip
    chain.conv("head", max(1280, chain.wide(1280)))
    chain.linear("classifier", chain.classes)


def _mobilenet_v3(
    chain: _Chain, settings: list[tuple[int, int, int, bool, int]], head: int
) -> None:
    chain.conv("stem", chain.wide(16), 3, chain.stride(2))
    for block, (kernel, hidden, c_out, excite, published) in enumerate(settings, 1):
        stride = chain.stride(published)
        chain.inverted_residual(
            block, chain.wide(hidden), chain.wide(c_out), kernel, stride, excite
        )
    chain.conv("head", chain.wide(head))
    chain.linear("features", max(1280, chain.wide(1280)))
    chain.linear("classifier", chain.classes)


def _mobilenet_v3_small(chain: _Chain) -> None:
    settings = [
        (3, 16, 16, True, 2), (3, 72, 24, False, 2), (3, 88, 24, False, 1), (5, 96, 40, True, 2),
        (5, 240, 40, True, 1), (5, 240, 40, True, 1), (5, 120, 48, True, 1), (5, 144, 48, True, 1),
        (5, 288, 96, True, 2), (5, 576, 96, True, 1), (5, 576, 96, True, 1),
    ]  # fmt: skip
    _mobilenet_v3(chain, settings, 576)


def _mobilenet_v3_large(chain: _Chain) -> None:
    settings = [
        (3, 16, 16, False, 1), (3, 64, 24, False, 2), (3, 72, 24, False, 1), (5, 72, 40, True, 2),
        (5, 120, 40, True, 1), (5, 120, 40, True, 1), (3, 240, 80, False, 2),
        (3, 200, 80, False, 1), (3, 184, 80, False, 1), (3, 184, 80, False, 1),
        (3, 480, 112, True, 1), (3, 672, 112, True, 1), (5, 672, 160, True, 2),
        (5, 960, 160, True, 1), (5, 960, 160, True, 1),
    ]  # fmt: skip
    _mobilenet_v3(chain, settings, 960)


def _resnet50(chain: _Chain, small: bool = False) -> None:
    """Add ResNet50 with the stride in the 3 x 3; `small` has a 3 x 3 stem and no pooling."""
    if small:
        chain.conv("stem", chain.wide(64), 3, chain.stride(1))
    else:
        chain.conv("stem", chain.wide(64), 7, chain.stride(2))
        chain.size = Window.of(chain.size, (3, 3), 2, chain.around(3)).output  # max pooling
        chain.shrunk *= 2
    block = 0
    for published, count, first in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        stride, width = chain.stride(first), chain.wide(published)
        for index in range(count):
            block += 1
            step = stride if index == 0 else 1
            size, channels = chain.size, chain.channels
            chain.conv(f"block{block}.conv1", width)
            if chain.operator(block) != "depthwise":
                chain.depthwise(block, 3, step)
            else:
                chain.blocks = block
                chain.conv(f"block{block}.conv2", width, 3, step)
            chain.conv(f"block{block}.conv3", 4 * width)
            if index == 0:
                chain.size, chain.channels = size, channels
                chain.conv(f"block{block}.shortcut", 4 * width, 1, step)
    chain.linear("classifier", chain.classes)


def _mobilenet_v1_cifar100(chain: _Chain) -> None:
    _mobilenet_v1(chain, stem_stride=1)


def _resnet50_cifar100(chain: _Chain) -> None:
    _resnet50(chain, small=True)


#: Steps of the paper's machine in input and output channels (Ethos-U65-256).
ABCONV_STEPS = (32, 16)

_HIGHEST = 65536

#: Networks with FuSe variants.
FUSE_NETWORKS: dict[str, Callable[[_Chain], None]] = {
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_small": _mobilenet_v3_small,
    "mobilenet_v3_large": _mobilenet_v3_large,
    "mnasnet_b1": _mnasnet_b1,
    "resnet50": _resnet50,
}
#: Networks with ABConv patterns.
ABCONV_NETWORKS: dict[str, Callable[[_Chain], None]] = {
    "mobilenet_v1_cifar100": _mobilenet_v1_cifar100,
    "resnet50_cifar100": _resnet50_cifar100,
}
NETWORKS = FUSE_NETWORKS | ABCONV_NETWORKS


def _grouped(layer: Layer, groups: int, expand: bool) -> list[Layer]:
    """Return a convolution as ABConv, or as ABConv-exp."""
    work = layer.workload
    if not expand:
        return [replace(layer, workload=replace(work, kind="abconv", groups=groups))]
    c_mid = expansion(work.c_in, work.c_out, work.window.kernel[0])
    middle = groups * c_mid
    first = Workload.of("abconv", work.window.size, work.c_in, middle, groups=groups)
    second = replace(work, kind="abconv", c_in=middle, groups=groups)
    return [
        replace(layer, name=f"{layer.name}.expand", workload=first, norm=c_mid),
        replace(layer, workload=second),
    ]


def abconv_layers(
    size: int, c_in: int, c_out: int, kernel: int, kind: str, groups: int = 1
) -> list[Layer]:
    """Return one convolution, or what takes its place.

    Parameters
    ----------
    size : int
        Height and width of input and result.
    c_in, c_out, kernel : int
    kind : str
        ``"conv"``, ``"group"`` (ordinary group convolution), ``"abconv"`` or ``"abconv_exp"``.
    groups : int

    Raises
    ------
    UserError
        If the kind is unknown, the groups do not divide the channels, or the kernel is even.
    """
    check_groups(c_in, c_out, groups, kind)
    if kernel % 2 == 0:
        raise UserError(f"kernel must be odd, so that the image keeps its size, not {kernel}")
    work = Workload.of(
        "conv", (size, size), c_in, c_out, kernel=kernel, padding=kernel // 2,
        groups=groups if kind == "group" else 1,
    )  # fmt: skip
    layer = Layer(name=kind, workload=work)
    if kind in ("conv", "group"):
        return [layer]
    return _grouped(layer, groups, kind == "abconv_exp")


def is_pointwise(work: Workload) -> bool:
    """Whether it is a 1 x 1 convolution without stride: what ABConv can take the place of."""
    return work.kind == "conv" and (work.window.kernel, work.window.stride) == ((1, 1), (1, 1))


def _pattern(layers: list[Layer], pattern: str) -> list[Layer]:
    """Replace pointwise layers in turn, counting those that group selection would replace.

    Shortcuts are not among them: all but one have a stride, and that one's image is too large.
    """
    letters = cycle(pattern.split("-"))
    replacing = sorted(set(pattern) & {"A", "E"})
    found: list[Layer] = []
    for layer in layers:
        work = layer.workload
        shape = (work.c_in, work.c_out, work.window.kernel[0], work.output[0])
        groups = {
            letter: select_groups(*shape, *ABCONV_STEPS, letter == "E").g for letter in replacing
        }
        if not is_pointwise(work) or min(groups.values(), default=1) == 1:
            found.append(layer)
            continue
        letter = next(letters)
        found += [layer] if letter == "P" else _grouped(layer, groups[letter], letter == "E")
    return found


def counted(layers: Sequence[Layer]) -> Intensity:
    """Return macs, weights and activations (read or written) as the layers have them."""
    return Intensity(
        macs=sum(layer.workload.macs for layer in layers),
        weights=sum(layer.workload.weights for layer in layers),
        activations=sum(layer.workload.inputs + layer.workload.outputs for layer in layers),
    )


def build(
    name: str,
    variant: str | None = None,
    resolution: int | None = None,
    *,
    width: float = 1.0,
    strides: Sequence[int] | None = None,
    classes: int | None = None,
    operators: Sequence[str] | None = None,
    padding: Padding = None,
) -> Network:
    """Build a network.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    variant : str, optional
        One of `FUSE_VARIANTS`, or a pattern like ``A-P-P`` for one of `ABCONV_NETWORKS`; the
        unmodified network (``baseline``, ``P``) if left out.
    resolution : int, optional
        Height and width of the input; 224, or 32 for CIFAR-100, if left out.
    width : float
        What channels are multiplied by, and then rounded to a multiple of 8.
    strides : sequence of int, optional
        Of the stem and of every stage (of MobileNetV1 and V3: of every block), 1 or 2.
    classes : int, optional
        1000, or 100 for CIFAR-100, if left out.
    operators : sequence of str, optional
        One of `BLOCK_OPERATORS` for every block, in place of a variant.
    padding : optional
        As of the golden operators; half of the kernel on every side, as in PyTorch, if left out.

    Raises
    ------
    UserError
        If there is no such network, variant or operator, or the resolution is below the product of
        the network's strides.
    """
    if name not in NETWORKS:
        raise UserError(f"network must be one of {', '.join(NETWORKS)}, not {name!r}")
    patterned = name in ABCONV_NETWORKS
    unmodified = "P" if patterned else "baseline"
    if variant is None:
        variant = unmodified
    if patterned and not set(variant.split("-")) <= {"A", "P", "E"}:
        raise UserError(
            f"variant of {name} must be a pattern of A, P and E like A-P-P, not {variant!r}"
        )
    if not patterned and variant not in FUSE_VARIANTS:
        raise UserError(
            f"variant of {name} must be one of {', '.join(FUSE_VARIANTS)}, not {variant!r}"
        )
    if resolution is None:
        resolution = 32 if patterned else 224
    if isinstance(resolution, bool) or not hasattr(resolution, "__index__"):
        raise TypeError(f"resolution must be an integer, not {resolution!r}")
    if not 1 <= resolution <= _HIGHEST:
        raise UserError(f"resolution must be from 1 to {_HIGHEST}, not {resolution}")
    if not 0 < width <= 16:
        raise UserError(f"width must be above 0 and at most 16, not {width}")
    if classes is None:
        classes = 100 if patterned else 1000
    if classes < 1:
        raise UserError(f"classes must be at least 1, not {classes}")
    if any(stride not in (1, 2) for stride in strides or ()):
        raise UserError(f"strides must be 1 or 2, not {'-'.join(map(str, strides or ()))}")
    chain = _Chain(
        channels=3, size=(resolution, resolution), classes=classes, width=width, padding=padding,
        strides=None if strides is None else iter(strides),
        operator=_operator(name, variant, operators),
    )  # fmt: skip
    NETWORKS[name](chain)
    for what, given, wanted in (
        ("strides", strides, chain.stages), ("operators", operators, chain.blocks),
    ):  # fmt: skip
        if given is not None and len(given) != wanted:
            raise UserError(f"{what} of {name} must be {wanted}, not {len(given)}")
    if resolution < chain.shrunk:
        raise UserError(f"resolution of {name} must be at least {chain.shrunk}, not {resolution}")
    if name == "mobilenet_v2" and chain.operator(1) != "depthwise" and operators is None:
        # The published model holds a 1 x 1 expansion here that it never uses.
        stem = chain.layers[0].workload.c_out
        chain.unused = stem * stem + 2 * stem
    layers = _pattern(chain.layers, variant) if patterned else chain.layers
    return Network(
        name=name,
        variant=variant if operators is None else _named(operators),
        size=(resolution, resolution),
        layers=tuple(layers),
        unused=chain.unused,
    )


def _operator(name: str, variant: str, operators: Sequence[str] | None) -> Callable[[int], str]:
    """Return the function that says what the spatial convolution of a block is."""
    if operators is not None:
        if variant not in ("baseline", "P"):
            raise UserError(f"operators take the place of variant {variant!r}: give one of them")
        for one in operators:
            if one not in BLOCK_OPERATORS:
                raise UserError(
                    f"operator must be one of {', '.join(BLOCK_OPERATORS)}, not {one!r}"
                )
        return lambda block: operators[block - 1] if block <= len(operators) else "depthwise"
    if name in ABCONV_NETWORKS or variant == "baseline":
        return lambda block: "depthwise"
    kind = f"fuse_{variant.removesuffix('50')}"
    if not variant.endswith("50"):
        return lambda block: kind
    return lambda block: kind if block in REPLACED_50[name] else "depthwise"


def _named(operators: Sequence[str]) -> str:
    """Return the operators of all blocks in few words: the only one, or a letter for each."""
    if len(set(operators)) == 1:
        return operators[0]
    letters = {name: letter for letter, name in OPERATOR_LETTERS.items()}
    return "".join(letters[one] for one in operators)
