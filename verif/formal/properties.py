"""What is proved, on which machines, and the planted bug that shows each proof can fail."""

from __future__ import annotations

from dataclasses import dataclass

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig

from .engine import Bug

__all__ = ["CHECKERS", "PROOFS", "PROPERTIES", "Checker", "Proof", "Property"]


@dataclass(frozen=True, kw_only=True)
class Checker:
    """A group of properties that are proved together."""

    title: str
    reason: str  # what it is about, for docs/formal.md


CHECKERS = {
    "pe": Checker(
        title="Processing element",
        reason="The PE against a reference written from its docstring, whatever it held before.",
    ),
    "skid": Checker(
        title="Skid buffer",
        reason="The buffer against a queue of one beat.",
    ),
    "controller": Checker(
        title="Controller",
        reason="The controller, for commands of any kind in any order (depth up to 3, "
        "up to 2 folds), operands and enable free in every cycle, reset at any time.",
    ),
    "twin": Checker(
        title="Illegal commands",
        reason="Two controllers, one of which sees only the legal commands; all 64 bits free.",
    ),
    "streams": Checker(
        title="Streams of the core",
        reason="The whole core between free ports, commands as for the controller.",
    ),
    "paths": Checker(
        title="Paths through the core",
        reason="Which ports can reach which, bit by bit through the gates of the whole core.",
    ),
    "values": Checker(
        title="Results of the core",
        reason="The whole core against the equations, for any operands and commands (depth up to "
        "2, up to 2 folds), from any first state, for a number of cycles after power-up.",
    ),
    "fetcher": Checker(
        title="Reads of the accelerator",
        reason="The part that asks for bursts, for ranges of up to 2 KiB anywhere, and any room, "
        "ready and beats.",
    ),
    "storer": Checker(
        title="Writes of the accelerator",
        reason="The part that writes bursts, for ranges of up to 1 KiB anywhere.",
    ),
    "drain": Checker(
        title="Rows that share a lane",
        reason="The drain, for tokens of both kinds as the controller may send them.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The proof of all properties of a checker on one machine."""

    checker: str
    config: ArrayConfig | AcceleratorConfig
    depth: int | None = None
    defines: tuple[str, ...] = ("DEPTH=3", "FOLDS=2")
    short: bool = False

    @property
    def method(self) -> str:
        """Return how it is proved."""
        if self.checker == "paths":
            return "exact"
        return "unbounded" if self.depth is None else f"{self.depth} cycles"


@dataclass(frozen=True, kw_only=True)
class Property:
    """A property: the assertions whose labels start with `label`, and a bug that breaks it."""

    checker: str
    label: str
    claim: str
    bug: Bug
    config: ArrayConfig | AcceleratorConfig
    depth: int | None = None
    defines: tuple[str, ...] = ("DEPTH=3", "FOLDS=2")
    short: bool = True


def _machine(rows: int = 2, cols: int = 2, **fields: int | bool) -> ArrayConfig:
    """Return a small machine; 3-bit activations, 2-bit weights, 6-bit sums."""
    small = ArrayConfig(rows=rows, cols=cols, act_width=3, weight_width=2, acc_width=6)
    return small.replace(**fields)


def _accelerator(width: int) -> AcceleratorConfig:
    """Return a small accelerator with a bus of so many bits."""
    array = ArrayConfig(rows=2, cols=2, st_os=True)
    return AcceleratorConfig(array=array, act_kib=1, wgt_kib=4, axi_width=width, rows_per_lane=2)


PLAIN, ST_OS = _machine(), _machine(st_os=True)
PLAIN_1, ST_OS_1 = _machine(accumulators=1), _machine(st_os=True, accumulators=1)
_KINDS = [{"st_os": st_os, "accumulators": n} for st_os in (False, True) for n in (2, 1)]
_TINY = {"act_width": 2, "weight_width": 2, "acc_width": 4}


def _proofs() -> list[Proof]:
    proofs = [
        Proof(
            checker="pe",
            config=_machine(**kind, mac_stages=stages),
            short=kind["accumulators"] == stages,
        )
        for kind in _KINDS
        for stages in (1, 2)
    ]
    proofs += [
        Proof(checker="pe", config=_machine(**kind, act_width=2, weight_width=3, acc_width=5))
        for kind in _KINDS
    ]
    proofs += [
        Proof(checker="skid", config=PLAIN, short=True),
        Proof(checker="skid", config=_machine(4, 4, acc_width=32)),
    ]
    for kind in _KINDS:
        for rows, cols in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3)):
            config = _machine(rows, cols, **kind)
            short = (rows, cols) == (2, 2) and config.accumulators == 2
            proofs.append(Proof(checker="controller", config=config, short=short))
    for kind in _KINDS:
        for rows, cols in ((1, 1), (2, 2), (2, 3)):
            config = _machine(rows, cols, **kind)
            short = (rows, cols) == (2, 2) and config == ST_OS
            proofs.append(Proof(checker="twin", config=config, short=short))
    for kind in _KINDS:
        for rows, cols, stages in ((2, 2, 1), (2, 2, 2), (2, 3, 1), (3, 2, 1)):
            config = _machine(rows, cols, **kind, mac_stages=stages)
            proofs.append(Proof(checker="streams", config=config, short=config == PLAIN))
    for config in (PLAIN, ST_OS, ST_OS_1, ArrayConfig(rows=4, cols=4, st_os=True)):
        proofs.append(Proof(checker="paths", config=config, short=config == ST_OS))
    for kind in _KINDS:
        config = _machine(**kind, **_TINY)
        depth = 16 if config.st_os else 18
        proofs.append(
            Proof(checker="values", config=config, depth=depth, defines=("DEPTH=2", "FOLDS=2"))
        )
    for width in (128, 512):
        proofs += [
            Proof(checker=part, config=_accelerator(width), short=width == 128)
            for part in ("fetcher", "storer")
        ]
    for rows, cols, every, stages in ((2, 2, 2, 1), (4, 3, 2, 2), (4, 1, 4, 1), (4, 4, 4, 1)):
        array = ArrayConfig(rows=rows, cols=cols, st_os=True, mac_stages=stages)
        config_ = AcceleratorConfig(array=array, act_kib=1, wgt_kib=2, rows_per_lane=every)
        proofs.append(Proof(checker="drain", config=config_, short=rows == 2))
    return proofs


PROOFS = _proofs()

PROPERTIES = [
    Property(
        checker="pe",
        label="pass",
        claim="The activation goes east and the operand south, from the broadcast line if enabled.",
        config=ST_OS,
        bug=Bug(
            "array/pe.py",
            "self.i_operand & ~self.i_broadcast_en.replicate(layout.size)",
            "self.i_operand",
        ),
    ),
    Property(
        checker="pe",
        label="result",
        claim="acc <- (start ? 0 : acc) + a * w; a finished sum is held until the release, then "
        "the west is passed on.",
        config=PLAIN,
        bug=Bug(
            "array/pe.py",
            "held.eq(~self.i_release & (held | finish))",
            "held.eq(~self.i_release & finish)",
        ),
    ),
    Property(
        checker="pe",
        label="result",
        claim="The same with one accumulator.",
        config=PLAIN_1,
        short=False,
        bug=Bug("array/pe.py", "with m.If(~mark):", "with m.If(~mark | held):"),
    ),
    Property(
        checker="pe",
        label="result",
        claim="Both operands are signed.",
        config=ST_OS,
        short=False,
        bug=Bug(
            "array/pe.py",
            "weight = Signal(signed(config.weight_width)",
            "weight = Signal((config.weight_width)",
        ),
    ),
    Property(
        checker="skid",
        label="order",
        claim="Every beat comes out once, in order, and without delay if none waits.",
        config=PLAIN,
        bug=Bug("control/skid.py", "with m.Elif(self.i_ready):", "with m.Else():"),
    ),
    Property(
        checker="skid",
        label="enable",
        claim="The array stands still exactly while a beat waits.",
        config=PLAIN,
        bug=Bug(
            "control/skid.py",
            "self.o_en.eq(~self.i_valid | self.i_ready)",
            "self.o_en.eq(~self.i_valid)",
        ),
    ),
    Property(
        checker="skid",
        label="stable",
        claim="A beat that waits is not withdrawn and does not change.",
        config=PLAIN,
        bug=Bug(
            "control/skid.py",
            "Mux(self.o_en, self.i, kept)",
            "Mux(self.o_en | self.i_ready, self.i, kept)",
        ),
    ),
    Property(
        checker="skid",
        label="register",
        claim="Neither the enable nor the beat depends on the sink's ready of the same cycle.",
        config=PLAIN,
        short=False,
        bug=Bug(
            "control/skid.py",
            "self.o_valid.eq(self.i_valid | ~self.o_en)",
            "self.o_valid.eq(self.i_valid | (~self.o_en & self.i_ready))",
        ),
    ),
    Property(
        checker="controller",
        label="beats",
        claim="A beat enters for a command only, when the array moves, with both operands at once.",
        config=PLAIN,
        bug=Bug(
            "control/controller.py",
            "self.o_wgt_ready.eq(self.i_en & go & self.i_act_valid & beat.tap)",
            "self.o_wgt_ready.eq(go & beat.tap)",
        ),
    ),
    Property(
        checker="controller",
        label="tags",
        claim="Each beat brings the tags that its command asks for.",
        config=ST_OS,
        bug=Bug(
            "control/controller.py",
            "entering.valid.eq(advance & beat.tap)",
            "entering.valid.eq(advance)",
        ),
    ),
    Property(
        checker="controller",
        label="sums",
        claim="A fold starts from zero, or from the sums that the command before kept.",
        config=PLAIN,
        bug=Bug(
            "control/command_port.py",
            "taken.clear.eq(kept & ~command.accumulate)",
            "taken.clear.eq(0)",
        ),
    ),
    Property(
        checker="controller",
        label="tokens",
        claim="A finished fold's tokens come in consecutive steps, whatever the operands do: "
        "results never wait for input.",
        config=PLAIN,
        bug=Bug(
            "control/controller.py",
            "m, en=self.i_en, load=load",
            "m, en=self.i_en & self.i_act_valid, load=load",
        ),
    ),
    Property(
        checker="controller",
        label="chain",
        claim="No two folds meet on a result chain: max(results before, results now) steps lie "
        "between.",
        config=_machine(2, 3),
        bug=Bug(
            "control/rules.py",
            "apart.eq(older >= self._fold_width)",
            "apart.eq(older + 1 >= self._fold_width)",
        ),
    ),
    Property(
        checker="controller",
        label="chain",
        claim="The same with one accumulator, where a fold that keeps its sums counts as full.",
        config=PLAIN_1,
        short=False,
        bug=Bug("control/command_port.py", "m.d.comb += width.eq(cols)", "m.d.comb += width.eq(1)"),
    ),
    Property(
        checker="controller",
        label="south",
        claim="No broadcast operand travels south.",
        config=ST_OS,
        bug=Bug(
            "control/rules.py",
            "Mux(st_os, settled, ~southward)",
            "Mux(st_os, settled, 1)",
        ),
    ),
    Property(
        checker="controller",
        label="wave",
        claim="The wave of a GEMM tile is out of the grid before ST-OS begins.",
        config=ST_OS,
        bug=Bug("control/rules.py", "wave.eq(wave_after)", "wave.eq(wave_after - 1)"),
    ),
    Property(
        checker="controller",
        label="mode",
        claim="The broadcast lines are enabled for the beats of ST-OS passes, and for no others.",
        config=ST_OS,
        short=False,
        bug=Bug(
            "control/rules.py",
            "Mux(advance | wipe, st_os, self.broadcast | self.flushed)",
            "Mux(advance | wipe, st_os & ~tagged, self.broadcast | self.flushed)",
        ),
    ),
    Property(
        checker="controller",
        label="move",
        claim="Activations move with every beat and while a wave is in the grid, and rest while an "
        "ST-OS pass waits.",
        config=ST_OS,
        bug=Bug("control/rules.py", "move.eq(advance | ~mode)", "move.eq(advance | ~st_os)"),
    ),
    Property(
        checker="controller",
        label="reset",
        claim="After reset no command is taken for rows + cols cycles.",
        config=PLAIN,
        bug=Bug(
            "control/rules.py",
            "return config.rows + config.cols - 1",
            "return config.rows + config.cols - 2",
        ),
    ),
    Property(
        checker="controller",
        label="error",
        claim="cmd_error says whether an illegal command was taken since reset.",
        config=PLAIN,
        short=False,
        bug=Bug("control/command_port.py", "self.error.eq(1)", "self.error.eq(~self.error)"),
    ),
    Property(
        checker="controller",
        label="prompt",
        claim="Nothing hangs: with operands there, a beat enters within 2 cols + rows + 1 steps.",
        config=PLAIN,
        bug=Bug("control/sequencer.py", "self.clear.eq(0)", "self.clear.eq(self.clear)"),
    ),
    Property(
        checker="twin",
        label="illegal",
        claim="An illegal command changes nothing but cmd_error.",
        config=ST_OS,
        bug=Bug(
            "control/command_port.py",
            "m.d.sync += self.error.eq(1)",
            "m.d.sync += [self.error.eq(1), kept.eq(0)]",
        ),
    ),
    Property(
        checker="twin",
        label="illegal",
        claim="What is illegal is what docs/interface.md says.",
        config=PLAIN,
        short=False,
        bug=Bug("control/command_port.py", "command.reserved == 0", "command.reserved[:13] == 0"),
    ),
    Property(
        checker="streams",
        label="stable",
        claim="m_axis_out: tvalid is not withdrawn, tdata and tlast do not change while it waits.",
        config=PLAIN,
        bug=Bug(
            "core.py",
            "out.payload.eq(skid.o)",
            "out.payload.eq(Cat(skid.o[:-1], parts.drain.o_last))",
        ),
    ),
    Property(
        checker="streams",
        label="taken",
        claim="A command takes its beats of s_axis_act and s_axis_wgt, no more, both at once; at "
        "most two commands are under way.",
        config=PLAIN,
        bug=Bug(
            "core.py",
            "controller.i_act_valid.eq(act.valid)",
            "controller.i_act_valid.eq(1)",
        ),
    ),
    Property(
        checker="streams",
        label="chain",
        claim="No two results are due in the same step.",
        config=PLAIN,
        bug=Bug("control/rules.py", "self.room.eq(apart & ~self._draining)", "self.room.eq(apart)"),
    ),
    Property(
        checker="streams",
        label="leave",
        claim="Every result leaves when it is due, tlast on the last one of a command, nothing "
        "else leaves, after reset neither.",
        config=ST_OS,
        short=False,
        bug=Bug("control/drain.py", "spread.eq(to_all | direct_q)", "spread.eq(to_all)"),
    ),
    Property(
        checker="paths",
        label="ready",
        claim="No tvalid depends on a tready in the same cycle, and of the treadys only those of "
        "docs/interface.md on a tvalid.",
        config=ST_OS,
        bug=Bug(
            "core.py",
            "self.en = self.skid.o_en ",
            "self.en = self.skid.o_en & (self.skid.i_ready | ~self.skid.o_valid) ",
        ),
    ),
    Property(
        checker="paths",
        label="steers",
        claim="Data inputs go straight into registers, and steer nothing but tdata, ever.",
        config=PLAIN,
        bug=Bug(
            "core.py",
            "controller.i_wgt_valid.eq(wgt.valid)",
            "controller.i_wgt_valid.eq(wgt.valid & Cat(wgt.payload).any())",
        ),
    ),
    Property(
        checker="values",
        label="value",
        claim="Every beat of a GEMM tile has the values of Y = A B, sign-extended.",
        config=_machine(**_TINY),
        short=False,
        depth=14,
        defines=("DEPTH=2", "FOLDS=2"),
        bug=Bug("core.py", "lane[cols - 1 - c]", "lane[c]"),
    ),
    Property(
        checker="values",
        label="value",
        claim="Every beat of an ST-OS pass has the values of its convolution.",
        config=_machine(**_TINY, st_os=True),
        short=False,
        depth=16,
        defines=("DEPTH=2", "FOLDS=2"),
        bug=Bug("core.py", "skew.i_bypass.eq(enable)", "skew.i_bypass.eq(0)"),
    ),
    Property(
        checker="values",
        label="value",
        claim="Nothing of what was in the core before reset gets into a result.",
        config=_machine(**_TINY),
        short=False,
        depth=14,
        defines=("DEPTH=2", "FOLDS=2"),
        bug=Bug("control/rules.py", "self.flush = Signal(init=1)", "self.flush = Signal(init=0)"),
    ),
    Property(
        checker="fetcher",
        label="stable",
        claim="A burst that is asked for is not withdrawn and does not change.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "accelerator/fetcher.py",
            "asked = valid & self.i_ready",
            "asked = valid",
        ),
    ),
    Property(
        checker="fetcher",
        label="burst",
        claim="Bursts follow one another without gap or overlap, up to the end of the range, and "
        "never beyond the next multiple of 256 bytes.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "accelerator/fetcher.py",
            "Mux(left < per_burst - place, left, per_burst - place)",
            "Mux(left < per_burst, left, per_burst)",
        ),
    ),
    Property(
        checker="fetcher",
        label="room",
        claim="A burst is asked for only where there is room for all of it, and eight at most are "
        "outstanding.",
        config=_accelerator(128),
        short=False,
        bug=Bug("accelerator/fetcher.py", "(fits <= self.i_room) &", "(self.i_room != 0) &"),
    ),
    Property(
        checker="fetcher",
        label="stop",
        claim="After a stop nothing more is asked for.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "accelerator/fetcher.py", "with m.If(self.i_stop):", "with m.If(self.i_stop & valid):"
        ),
    ),
    Property(
        checker="fetcher",
        label="count",
        claim="Beats that were asked for, and have not come, are counted; until then it is busy.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "accelerator/fetcher.py",
            "valid | (left != 0) | (waiting != 0)",
            "valid | (left != 0) | (waiting > 1)",
        ),
    ),
    Property(
        checker="storer",
        label="stable",
        claim="An address or a beat that waits is not withdrawn and does not change.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "accelerator/storer.py",
            "pop = front & begun & self.i_w_ready",
            "pop = front & begun",
        ),
    ),
    Property(
        checker="storer",
        label="read",
        claim="Every beat of the range is read once, in order; the memory stands still while a "
        "beat waits.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "accelerator/storer.py",
            "self.o_read.eq(moves & (more | coming | front))",
            "self.o_read.eq(more | coming | front)",
        ),
    ),
    Property(
        checker="storer",
        label="together",
        claim="What was read two steps before is written as soon as the address of its burst is "
        "shown, taken or not.",
        config=_accelerator(128),
        short=False,
        bug=Bug("accelerator/storer.py", "front & begun)", "front & begun & ~shown)"),
    ),
    Property(
        checker="storer",
        label="beat",
        claim="A beat comes with the bytes that belong to the range, and says whether it is the "
        "last one of its burst.",
        config=_accelerator(128),
        short=False,
        bug=Bug("accelerator/storer.py", "n < span.o_end", "n <= span.o_end"),
    ),
    Property(
        checker="storer",
        label="address",
        claim="A burst begins where the range does, or at the next multiple of 256 bytes.",
        config=_accelerator(128),
        short=False,
        bug=Bug("accelerator/storer.py", "Mux(fresh, start[:within], 0)", "start[:within]"),
    ),
    Property(
        checker="storer",
        label="length",
        claim="It ends there, or with the range.",
        config=_accelerator(128),
        bug=Bug("accelerator/storer.py", "high.any() | (beats > to_end)", "(beats > to_end)"),
    ),
    Property(
        checker="storer",
        label="burst",
        claim="An address is shown when the first beat is there, all beats of the burst before are "
        "written, and the address before is taken.",
        config=_accelerator(128),
        short=False,
        bug=Bug("accelerator/storer.py", "begun & ~(pop & last)", "begun & ~last"),
    ),
    Property(
        checker="storer",
        label="busy",
        claim="It is busy until everything is read, written and answered.",
        config=_accelerator(128),
        short=False,
        bug=Bug("accelerator/storer.py", "(answers != 0)", "(answers > 1)"),
    ),
    Property(
        checker="drain",
        label="shift",
        claim="Every row gives a result for every token, in its step, and of the rows that share a "
        "lane no two in one step.",
        config=_accelerator(128),
        bug=Bug("control/drain.py", "late[r % self.every]", "late[0]"),
    ),
    Property(
        checker="drain",
        label="release",
        claim="The first token of a fold releases the row, and what rides with a token is there "
        "with it.",
        config=_accelerator(128),
        short=False,
        bug=Bug("control/drain.py", "now.eq(late[-1])", "now.eq(late[-1][:1])"),
    ),
    Property(
        checker="drain",
        label="out",
        claim="The output is valid with the last row, and says whether it is the last one of its "
        "command, and whether it needs no deskew.",
        config=_accelerator(128),
        short=False,
        bug=Bug(
            "control/drain.py", "m.d.sync += beat.eq(rows[-1])", "m.d.sync += beat.eq(rows[0])"
        ),
    ),
]
