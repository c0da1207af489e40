"""Group selection for ABConv and ABConv-exp.

Source: "Arithmetic Intensity Balancing Convolution for Hardware-aware Efficient Block Design",
MLSys 2023 on-device intelligence workshop; its Algorithm 1 as reconstructed from the published
tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from report.errors import UserError

__all__ = [
    "BLOCKS",
    "RULES",
    "GroupSelection",
    "Intensity",
    "check_groups",
    "divisors",
    "expansion",
    "intensity",
    "select_groups",
]

RULES = ("balance", "max_intensity")
BLOCKS = ("conv", "group", "abconv", "abconv_exp")


class GroupSelection(NamedTuple):
    """What `select_groups` returns.

    Attributes
    ----------
    g : int
        Number of channel groups.
    sw_rep : bool
        Whether the channels fit the machine's steps; a layer is replaced if so and ``g > 1``.
    """

    g: int
    sw_rep: bool


def divisors(number: int) -> list[int]:
    """Return all divisors of a positive integer, ascending."""
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def _positive(**values: int) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer of at least 1, not {value!r}")
        if value < 1:
            raise UserError(f"{name} must be an integer of at least 1, not {value}")


def expansion(c_in: int, c_out: int, k: int) -> int:
    """Return c_mid of ABConv-exp: as many multiply-accumulates as the convolution it replaces.

    ``c_mid = k*k*c_in*c_out / (c_in + k*k*c_out)`` per block, for any number of groups, rounded
    up to a multiple of 32 (which the published counts imply).
    """
    _positive(c_in=c_in, c_out=c_out, k=k)
    exact = -(-(k * k * c_in * c_out) // (c_in + k * k * c_out))
    return -(-exact // 32) * 32


def select_groups(
    c_in: int,
    c_out: int,
    k: int,
    s_out: int,
    t_in: int,
    t_out: int,
    expand: bool,
    rule: str = "balance",
) -> GroupSelection:
    """Select the number of channel groups of an ABConv layer.

    With P = k*k*c_in*c_out, D = c_in + c_out, F = c_in + k*k*c_out, Cm = P/F: the rule `balance`
    (the paper's) makes the arithmetic intensities of weights and activations equal, at ``g_opt =
    sqrt(P / (s_out**2 * D))``, with `expand` at the positive root of ``g * s_out**2 = P / (D +
    2*g*Cm)``. `max_intensity` maximizes the intensity of the whole layer: the same without
    `expand`, with it ``g_opt = sqrt(F / (2 * s_out**2))``. The result is the common divisor of
    c_in/t_in and c_out/t_out nearest to g_opt, the smaller of two.

    Parameters
    ----------
    c_in, c_out : int
        Channels of the convolution.
    k : int
        Kernel size.
    s_out : int
        Height and width of the result.
    t_in, t_out : int
        Steps of the machine's staircase, in channels.
    expand : bool
        Whether the layer becomes ABConv-exp.
    rule : str
        ``"balance"`` or ``"max_intensity"``.

    Returns
    -------
    GroupSelection
        ``(1, False)`` if a step does not divide its channels.

    Raises
    ------
    TypeError, UserError
        If a number is not a positive integer, or the rule is unknown.
    """
    _positive(c_in=c_in, c_out=c_out, k=k, s_out=s_out, t_in=t_in, t_out=t_out)
    if rule not in RULES:
        raise UserError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
    (q_in, r_in), (q_out, r_out) = divmod(c_in, t_in), divmod(c_out, t_out)
    if r_in or r_out:
        return GroupSelection(1, False)
    pixels = s_out * s_out
    product, both, wide = k * k * c_in * c_out, c_in + c_out, c_in + k * k * c_out
    if not expand:
        g_opt = math.sqrt(product / (pixels * both))
    elif rule == "balance":
        middle = product / wide
        root = math.sqrt((pixels * both) ** 2 + 8 * middle * pixels * product)
        g_opt = (root - pixels * both) / (4 * middle * pixels)
    else:
        g_opt = math.sqrt(wide / (2 * pixels))
    candidates = divisors(math.gcd(q_in, q_out))
    return GroupSelection(min(candidates, key=lambda g: (abs(g - g_opt), g)), True)


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """Table 1 of the paper for one layer, in elements of one byte.

    Parameters
    ----------
    macs, weights, activations : int
        Multiply-accumulates, weights, and activations read or written.
    """

    macs: int
    weights: int
    activations: int

    @property
    def weight(self) -> float:
        """Multiply-accumulates per weight."""
        return self.macs / self.weights

    @property
    def activation(self) -> float:
        """Multiply-accumulates per activation."""
        return self.macs / self.activations

    @property
    def whole(self) -> float:
        """Multiply-accumulates per weight or activation."""
        return self.macs / (self.weights + self.activations)


def check_groups(c_in: int, c_out: int, g: int, kind: str) -> None:
    """Raise `UserError` unless g divides both channels, and the kind of layer is known."""
    _positive(c_in=c_in, c_out=c_out, g=g)
    if kind not in BLOCKS:
        raise UserError(f"kind must be one of {', '.join(BLOCKS)}, not {kind!r}")
    legal = divisors(math.gcd(c_in, c_out)) if kind != "conv" else [1]
    if g not in legal:
        raise UserError(
            f"g for {c_in} to {c_out} channels must be one of {', '.join(map(str, legal))}, not {g}"
        )


def intensity(c_in: int, c_out: int, k: int, s_out: int, kind: str, g: int = 1) -> Intensity:
    """Return the arithmetic intensities of one layer, as in Table 1 of the paper.

    Parameters
    ----------
    c_in, c_out, k, s_out : int
        As in `select_groups`.
    kind : str
        ``"conv"``, ``"group"`` (ordinary group convolution), ``"abconv"`` or ``"abconv_exp"``.
    g : int
        Groups.

    Raises
    ------
    UserError
        If g does not divide the channels, or the kind is unknown.
    """
    _positive(k=k, s_out=s_out)
    check_groups(c_in, c_out, g, kind)
    pixels, product = s_out * s_out, k * k * c_in * c_out
    activations = pixels * (c_in + c_out)
    if kind == "conv":
        return Intensity(macs=pixels * product, weights=product, activations=activations)
    if kind == "group":
        return Intensity(macs=pixels * product // g, weights=product // g, activations=activations)
    if kind == "abconv":
        return Intensity(
            macs=pixels * product // g, weights=product // (g * g), activations=activations
        )
    middle, wide = expansion(c_in, c_out, k), c_in + k * k * c_out
    return Intensity(
        macs=pixels * middle * wide,
        weights=middle * wide // g,
        activations=activations + pixels * 2 * g * middle,
    )
