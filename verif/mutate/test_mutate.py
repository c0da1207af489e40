"""A sample of the mutation campaign, and tests of the campaign itself."""

from __future__ import annotations

import re

import pytest

from hw.config import ArrayConfig
from hw.emit import emit_accelerator
from sim.rtl import RtlError
from verif.lib.suite import check, runs
from verif.mutate import accelerator
from verif.mutate.__main__ import sampled
from verif.mutate.campaign import Bench
from verif.mutate.core import COMPONENTS
from verif.mutate.report import Explanations

CONFIG = ArrayConfig(rows=2, cols=3, st_os=True)


@pytest.fixture(scope="module")
def verdicts():
    """Judge 22 mutants of every component."""
    mutants = [one for name in COMPONENTS for one in sampled(CONFIG, name, 22, seed=1)]
    bench = Bench(CONFIG, mutants)  # sees that the core without a fault passes
    return bench, [bench.judge(mutant) for mutant in mutants]


def test_sample_dies(verdicts):
    """No mutant survives that nobody has looked at."""
    explanations = Explanations()
    holes = [v.mutant for v in verdicts[1] if v.survived and not explanations.of(v.mutant)]
    assert not holes, "\n".join(map(str, holes))
    assert sum(bool(v.killer) for v in verdicts[1]) > 150


def test_kill_is_a_failed_check(verdicts):
    """What the campaign calls a kill is a run that fails."""
    bench, judged = verdicts
    for verdict in [v for v in judged if v.killer][::20]:
        with pytest.raises((AssertionError, RtlError)):  # noqa: PT012
            for run in runs(CONFIG, verdict.killer):
                check(bench.simulator, run, verdict.mutant.number)


def test_killed_mutants_are_not_equivalent(verdicts):
    """No proof of equivalence succeeds for a mutant that some run tells apart."""
    bench, judged = verdicts
    killed = [v.mutant for v in judged if v.killer]
    for component, step in (("drain", 1), ("controller", 8), ("skid", 2)):
        mutants = [one for one in killed if one.component == component][::step]
        assert mutants
        for mutant in mutants:
            assert not bench.machine(mutant.module).equivalent(mutant.number), str(mutant)


def test_unit_tests_notice_mutants():
    """A unit test of a component is one of the same module of an emitted accelerator, too."""
    config = accelerator.CONFIGS[0]
    netlist = accelerator.netlist(config)
    mutants = [one for one in netlist.mutants if one.component == "GEMM writer"][::1500]
    assert len(mutants) > 5
    verilog = netlist.planted(mutants)
    # They pass without a mutant, or this fails.
    units = accelerator.units(config, verilog, netlist, {one.module for one in mutants})
    noticed = [units[one.module].notices(one.number) for one in mutants]
    assert sum(noticed) > 0.7 * len(mutants), noticed


#: Memories have no mutants, and the core's campaign has those of the skews.
WITHOUT = {
    "activation_bank", "job_ring_ram", "load_fifo_ram", "parameter_ram", "table_ram",
    "weight_ring_ram",
    "turn_skew", "west_skew",
}  # fmt: skip


@pytest.mark.parametrize("config", accelerator.CONFIGS, ids=str)
def test_all_modules_have_mutants(config):
    """No module of an accelerator is left out of the campaign by its name."""
    modules = re.findall(r"^module stos_accelerator_?(\w*) ", emit_accelerator(config), re.M)
    measured = {one for names in accelerator.COMPONENTS.values() for one in names}
    assert set(modules) - measured == WITHOUT
