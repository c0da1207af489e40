"""How designs are mapped to ECP5 by Yosys.

Yosys maps an ECP5 multiplier without its registers, so the product would cross the fabric before
it is stored. Here the multiplier and the register behind it are found as a pair before mapping,
and become one MULT18X18D with its output register in use.
"""

from __future__ import annotations

from ..config import ArrayConfig

__all__ = ["CAPACITY", "WHOLE", "pack_product_register"]

#: What an LFE5U-85F has, and an LFE5UM5G-85F.
CAPACITY = {"LUT": 83640, "FF": 83640, "DSP": 156, "BRAM": 208}

#: Commands that map a design as a whole: every look-up table counts with the ps that a wire to it
#: takes once it is routed, and what is faster than the target is mapped for area.
WHOLE = """\
synth_ecp5 -top {top} -run begin:map_luts
abc9 -W 1000 -D 10800
clean
synth_ecp5 -top {top} -run map_cells:
"""

_PATTERN = """\
module product_register(input clk, input en, input [{a}:0] a, input [{w}:0] w,
                        output reg [{p}:0] p);
  wire [{p}:0] y = $signed(a) * $signed(w);
  always @(posedge clk) if (en) p <= y;
endmodule
"""

_MAP = """\
module product_register(input clk, input en, input [{a}:0] a, input [{w}:0] w,
                        output [{p}:0] p);
  wire [17:0] x = {{{{{xa}{{a[{a}]}}}}, a}};
  wire [17:0] y = {{{{{xw}{{w[{w}]}}}}, w}};
  wire [35:0] z;
  assign p = z;
  MULT18X18D #(.REG_OUTPUT_CLK("CLK0"), .REG_OUTPUT_CE("CE0"), .REG_OUTPUT_RST("RST0"))
    multiplier (
      .CLK0(clk), .CE0(en), .RST0(1'b0),
      .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
      {ports});
endmodule
"""


def pack_product_register(config: ArrayConfig, top: str) -> tuple[str, dict[str, str]]:
    """Return the Yosys commands that put a product into the multiplier, and the files they read.

    It is the product of two-stage multiply-accumulates.
    """
    a, w = config.act_width, config.weight_width
    ports = [f".A{bit}(x[{bit}]), .B{bit}(y[{bit}])" for bit in range(18)]
    ports += [f".C{bit}(1'b0)" for bit in range(18)]
    ports += [f".P{bit}(z[{bit}])" for bit in range(36)]
    values = {"a": a - 1, "w": w - 1, "p": a + w - 1, "xa": 18 - a, "xw": 18 - w}
    commands = f"""\
hierarchy -top {top}
proc
opt_clean
extract -map product_register.v
techmap -map product_register_map.v
opt_clean
"""
    return commands, {
        "product_register.v": _PATTERN.format(**values),
        "product_register_map.v": _MAP.format(ports=", ".join(ports), **values),
    }
