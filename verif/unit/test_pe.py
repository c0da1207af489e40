"""The processing element: a sum of products, and a link of the result chain."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from hw.array import PE
from hw.config import ArrayConfig
from hw.layouts import operand_layout
from verif.unit.stepper import Inputs, Stepper, check_stalls, number, pack, signed

SMALL = ArrayConfig(rows=1, cols=1, act_width=4, weight_width=4, acc_width=10)
CONFIGS = [
    ArrayConfig(
        rows=1, cols=1, st_os=st_os, act_width=widths[0], weight_width=widths[1],
        acc_width=widths[2], accumulators=accumulators, mac_stages=stages,
    )
    for (st_os, accumulators, stages), widths in zip(
        itertools.product((False, True), (1, 2), (1, 2)),
        itertools.cycle([(2, 2, 4), (5, 3, 9), (3, 6, 11)]),
    )
]  # fmt: skip


def operand(config: ArrayConfig, weight: int, *, valid: bool = True, mark: bool = False) -> int:
    """Return a weight with its tags."""
    fields: Any = operand_layout(config).const(
        {"weight": weight, "tags": {"valid": valid, "mark": mark}}
    )
    return fields.as_bits()


def step(config: ArrayConfig, a: int = 0, weight: int | None = None, **more: Any) -> Inputs:
    """Return the inputs of one step: a product, or without a weight a bubble."""
    mark = more.pop("mark", False)
    valid = weight is not None
    inputs = {
        "i_en": 1,
        "i_move": 1,
        "i_release": more.pop("release", 0),
        "i_a": pack([a], config.act_width),
        "i_operand": operand(config, weight or 0, valid=valid, mark=mark),
        "i_result": pack([more.pop("west", 0)], config.acc_width),
    }
    if config.st_os:
        inputs |= {"i_broadcast": 0, "i_broadcast_en": 0}
    return inputs | more


def results(config: ArrayConfig, steps: list[Inputs]) -> list[int]:
    trace = Stepper(PE(config=config)).run(steps)
    return [signed(seen.o_result, config.acc_width) for seen in trace]


def test_three_products() -> None:
    """2 * 3 - 1 * 4 + 5 * -6 = -28, handed over, held, released, and followed by the west."""
    config = SMALL
    steps = [
        step(config, mark=True),  # clears the sum: a mark without a product
        step(config, 2, 3),
        step(config, -1, 4),
        step(config, 5, -6, mark=True),  # the last product ...
        step(config, 7, 7, west=99),  # ... is added in this step; the next sum has begun
        step(config, west=99),  # -28 is here, and held
        step(config, west=99, release=1),  # may leave in this step,
        step(config, west=11),  # and in the next one the west moves in,
        step(config, west=22),  # one result per step
        step(config),
    ]
    assert results(config, steps)[5:] == [-28, -28, -28, 11, 22]


def test_three_products_one_accumulator() -> None:
    """With one accumulator the mark is on the first product, and the sum is seen as it grows."""
    config = SMALL.replace(accumulators=1)
    steps = [
        step(config, 7, 7),  # of a sum before, whatever it was
        step(config, 2, 3, mark=True),
        step(config, -1, 4),
        step(config, 5, -6),
        step(config, west=99, release=1),  # 5 * -6 is added, and the result may leave
        step(config, west=11),
        step(config, west=22),
        step(config),
    ]
    assert results(config, steps)[3:] == [6, 2, -28, 11, 22]


def test_operands_move_on() -> None:
    """The activation is in the east, the weight with its tags in the south, one step later."""
    config = SMALL
    steps = [step(config, -8, 5, mark=True), step(config, 3, -8), step(config), step(config)]
    first, *trace = Stepper(PE(config=config)).run(steps)
    assert [seen.o_a for seen in trace] == [0b1000, 0b0011, 0]
    assert [seen.o_operand for seen in trace] == [0b11_0101, 0b01_1000, 0]


def test_broadcast() -> None:
    """The broadcast line replaces data and tags of the north, and the activation may rest."""
    config = SMALL.replace(st_os=True)
    line: Inputs = {"i_broadcast_en": 1, "i_operand": None}  # whatever comes from the north
    steps = [
        step(config, mark=True),
        step(config, 3, i_broadcast=operand(config, 2), **line),
        step(config, 9, i_broadcast=operand(config, 5, mark=True), **line | {"i_move": 0}),
        step(config, i_broadcast=0, **line),  # a bubble: the line is zero
        step(config, release=1),
    ]
    assert results(config, [*steps, step(config)])[-2:] == [21, 21]  # 3 * 2 + 3 * 5


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_latency(config: ArrayConfig) -> None:
    """A sum of one product appears `mac_stages` + 1 steps after its operands."""
    steps = [step(config, mark=config.accumulators == 2, release=1)] * (config.mac_stages + 2)
    steps += [step(config, 1, -1, mark=True)] + [step(config)] * (config.mac_stages + 1)
    assert results(config, steps)[-2:] == [0, -1]


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_sums_wrap(config: ArrayConfig) -> None:
    """Five products of the most negative numbers, modulo ``2**acc_width``."""
    a, w = -(1 << config.act_width - 1), -(1 << config.weight_width - 1)
    two = config.accumulators == 2
    steps = [step(config, mark=two)]
    steps += [step(config, a, w, mark=index == (4 if two else 0)) for index in range(5)]
    steps += [step(config)] * (config.mac_stages + 1)
    assert results(config, steps)[-1] == signed(5 * a * w, config.acc_width)


def expected(config: ArrayConfig, steps: list[Inputs]) -> list[tuple[int, int, int]]:
    """Return `o_a`, `o_operand` and `o_result` of every step, from the docstring."""
    a = tagged = 0
    terms: list[int] = []
    result = 0
    held = False
    entered = [(0, 0)] * config.mac_stages
    seen = []
    for inputs in steps:
        seen.append((a, tagged, result % (1 << config.acc_width)))
        if not inputs["i_en"]:
            continue
        if inputs["i_move"]:
            a = inputs["i_a"]
        tagged = inputs["i_operand"]
        if inputs.get("i_broadcast_en"):
            tagged = inputs["i_broadcast"]
        entered.append((a, tagged))
        late_a, late = entered[-1 - config.mac_stages]
        valid, mark = (late >> config.weight_width + bit & 1 for bit in (0, 1))
        if config.accumulators == 1 and valid and mark:
            terms = []
        if valid:
            terms.append(signed(late_a, config.act_width) * signed(late, config.weight_width))
        if valid and (mark or config.accumulators == 1):
            result = sum(terms)
        elif not held:
            result = inputs["i_result"]
            if config.accumulators == 1:
                terms = [result]
        if config.accumulators == 2 and mark:
            terms = []
        held = (held or bool(valid and mark)) and not inputs["i_release"]
    return seen


def random_steps(config: ArrayConfig, dice: random.Random, count: int) -> list[Inputs]:
    """Return steps with every combination of tags, release, broadcast and rest."""
    steps = []
    for _ in range(count):
        weights = [
            operand(config, number(dice, config.weight_width), valid=v < 6, mark=v % 3 == 0)
            for v in (dice.randrange(9), dice.randrange(9))
        ]
        inputs = step(
            config, number(dice, config.act_width), west=number(dice, config.acc_width),
            release=int(dice.random() < 0.3), i_move=int(dice.random() < 0.7), i_operand=weights[0],
        )  # fmt: skip
        if config.st_os and dice.random() < 0.5:
            inputs |= {"i_broadcast_en": 1, "i_broadcast": weights[1]}
        steps.append(inputs)
    return steps


def settle(config: ArrayConfig) -> list[Inputs]:
    """Return steps after which nothing is left of the registers' random first values."""
    return [step(config, mark=config.accumulators == 2, release=1)] * (config.mac_stages + 2)


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_random(config: ArrayConfig) -> None:
    """Every output in every step; the steps pause at random."""
    stepper = Stepper(PE(config=config))
    for seed in range(2):
        dice = random.Random(seed)
        steps = settle(config)
        start = len(steps)
        for inputs in random_steps(config, dice, 200):
            while dice.random() < 0.2:  # a pause has garbage on every input
                pause = {name: dice.getrandbits(len(port)) for name, port in stepper.inputs.items()}
                steps.append(pause | {"i_en": 0, "i_move": 0})
            steps.append(inputs)
        trace = stepper.run(steps, seed=seed)
        want = expected(config, steps)
        for index in range(start, len(steps)):
            got = trace[index].o_a, trace[index].o_operand, trace[index].o_result
            assert got == want[index], f"seed {seed}, step {index}"


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_stalls(config: ArrayConfig) -> None:
    """Nothing moves without `i_en`, whatever the other inputs are."""
    steps = random_steps(config, random.Random(1), 40)
    check_stalls(Stepper(PE(config=config)), steps, {"i_en": 0, "i_move": 0})
