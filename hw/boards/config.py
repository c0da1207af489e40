"""The description of one board's design."""

from __future__ import annotations

from dataclasses import dataclass

from report.errors import UserError

from ..accelerator.config import AcceleratorConfig

__all__ = ["DEFAULTS", "SDRAM_BYTES", "BoardConfig"]

#: Options that are different from an accelerator in an SoC: there is little memory.
DEFAULTS = {"mac_stages": 2, "act_kib": 64, "wgt_kib": 4, "axi_width": 64}

#: Of an MT48LC16M16, or what stands in its place.
SDRAM_BYTES = 32 << 20
#: MHz, within which LiteDRAM has enough cycles between refreshes, and the chip is fast enough.
_SDRAM_CLOCK = 14, 133


@dataclass(frozen=True, kw_only=True)
class BoardConfig:
    """What is on a board, and how fast.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    memory_kib : int
        KiB of block RAM behind its AXI4 port, a multiple of 4.
    clock, baud : int
        Cycles, and bits of the wire, per second.
    sdram : bool
        The memory is the board's SDRAM, and `memory_kib` is not looked at.

    Raises
    ------
    UserError
        If a number is out of its range.
    """

    accelerator: AcceleratorConfig
    memory_kib: int
    clock: int
    baud: int
    sdram: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        memory, clock, baud = self.memory_kib, self.clock, self.baud
        if self.sdram and not _SDRAM_CLOCK[0] <= clock / 1e6 <= _SDRAM_CLOCK[1]:
            low, high = _SDRAM_CLOCK
            raise UserError(f"--sdram needs a --clock of {low} to {high} MHz, not {clock / 1e6:g}")
        if memory % 4 or not 4 <= memory <= 4096:
            raise UserError(f"--memory-kib must be a multiple of 4 from 4 to 4096, not {memory}")
        if not 0 < baud <= clock // 4:
            raise UserError(
                f"--baud must be at most a quarter of the clock, {clock // 4:,}, and above 0, "
                f"not {baud:,}"
            )
        if abs(clock / self.divisor / baud - 1) > 0.02:
            raise UserError(
                f"--baud {baud:,} is not to be had of {clock / 1e6:g} MHz to 2 %; "
                f"{clock // self.divisor:,} is"
            )

    def flags(self) -> str:
        """Return the options that describe the design."""
        machine = self.accelerator
        given = machine.flags().removeprefix("--accelerator ").split()
        for name in DEFAULTS:  # what is left out there is not what is meant here
            option = f"--{name.replace('_', '-')}"
            if option not in given:
                given += [option, str(machine.to_dict()[name])]
        given += ["--sdram"] if self.sdram else ["--memory-kib", str(self.memory_kib)]
        return " ".join([*given, "--clock", f"{self.clock / 1e6:g}", "--baud", str(self.baud)])

    @property
    def memory(self) -> str:
        """The memory, in words."""
        return f"{self.memory_bytes >> 20} MiB of SDRAM" if self.sdram else f"{self.memory_kib} KiB"

    @property
    def divisor(self) -> int:
        """Cycles of a bit of the wire."""
        return round(self.clock / self.baud)

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory."""
        return SDRAM_BYTES if self.sdram else 1024 * self.memory_kib
