"""A core with planted faults at its ports, to see that every check of a bench can fire.

The wrapper `stos_core` has an input `mutant` more than the core in it, which chooses the fault.
"""

from __future__ import annotations

from hw.config import ArrayConfig
from hw.emit import emit_verilog
from hw.top import core_ports

__all__ = ["FAULTS", "faulty_core"]

#: What the wrapper does wrong, by number; 0 is nothing.
FAULTS = {
    1: "payload changes while it waits",
    2: "tvalid is withdrawn",
    3: "activations are not taken after five beats",
    4: "tvalid waits for tready",
    5: "payload depends on tready",
    6: "a beat before any command",
    7: "cmd_error before any command",
    8: "cmd_error falls again",
    9: "cmd_error never rises",
    10: "no tlast",
    11: "tlast on every beat",
    12: "a beat too many, much later",
    13: "a wrong bit",
    14: "a cycle too late",
    15: "a pad bit is used",
    16: "data from before tvalid is used",
    17: "an unused weight lane is used",
    18: "reset needs two cycles",
    19: "tlast changes while it waits",
}

_BODY = """\
  reg waited, resetting, asked, failed, late_done, early;
  reg [3:0] beats, idle;
  reg [ACT-1:0] past;
  wire [OUT-1:0] data;
  wire [WGT-1:0] wgt;
  wire [ACT-1:0] act;
  wire valid, last, error, cmd_ready, act_ready;
  // A fault that holds the activations back: for ever, or for the second beat's first cycle.
  wire hold = mutant == 3 && beats == 5 || mutant == 14 && beats == 1 && !late_done;
  wire extra = mutant == 6 && !asked && idle == 3 || mutant == 12 && asked && idle == 15;
  always @(posedge clk) begin
    resetting <= rst;
    waited <= valid && !m_axis_out_tready && !rst;
    past <= s_axis_act_tdata;
    early <= !s_axis_act_tvalid;
    if (rst) begin
      asked <= 0; failed <= 0; late_done <= 0; beats <= 0; idle <= 0;
    end else begin
      if (s_axis_cmd_tvalid && s_axis_cmd_tready) asked <= 1;
      if (error) failed <= 1;
      if (hold) late_done <= 1;
      if (s_axis_act_tvalid && s_axis_act_tready && beats != 5) beats <= beats + 1;
      idle <= valid || mutant == 12 && (s_axis_act_tvalid || idle == 15) ? 0 : idle + 1;
    end
  end
  assign act = mutant == 15 ? s_axis_act_tdata ^ s_axis_act_tdata[ACT-1]
             : mutant == 16 && early ? past : s_axis_act_tdata;
  assign wgt = mutant == 17 ? s_axis_wgt_tdata ^ s_axis_wgt_tdata[WGT-8] : s_axis_wgt_tdata;
  assign s_axis_act_tready = act_ready && !hold;
  assign s_axis_cmd_tready = cmd_ready;
  assign m_axis_out_tvalid = (valid || extra) && !(mutant == 2 && waited)
                           && !(mutant == 4 && !m_axis_out_tready);
  assign m_axis_out_tdata = data ^ (mutant == 1 && waited || mutant == 13
                                    || mutant == 5 && m_axis_out_tready);
  assign m_axis_out_tlast = (last && mutant != 10 || mutant == 11) ^ (mutant == 19 && waited);
  assign cmd_error = mutant == 7 && !asked || mutant != 9 && error && !(mutant == 8 && failed);
  inner_core inner (
    .clk(clk), .rst(mutant == 18 ? rst && resetting : rst),
    .s_axis_cmd_tdata(s_axis_cmd_tdata), .s_axis_cmd_tvalid(s_axis_cmd_tvalid),
    .s_axis_cmd_tready(cmd_ready),
    .s_axis_act_tdata(act), .s_axis_act_tvalid(s_axis_act_tvalid && !hold),
    .s_axis_act_tready(act_ready),
    .s_axis_wgt_tdata(wgt), .s_axis_wgt_tvalid(s_axis_wgt_tvalid),
    .s_axis_wgt_tready(s_axis_wgt_tready),
    .m_axis_out_tdata(data), .m_axis_out_tvalid(valid), .m_axis_out_tlast(last),
    .m_axis_out_tready(m_axis_out_tready), .cmd_error(error));
"""


def faulty_core(config: ArrayConfig) -> str:
    """Return the text of a core, with pad bits and more rows than columns, in such a wrapper."""
    assert config.act_width % 8 and config.weight_lanes > config.cols
    widths = {name: width for name, _, width in core_ports(config)}
    sizes = {
        "ACT": widths["s_axis_act_tdata"],
        "WGT": widths["s_axis_wgt_tdata"],
        "OUT": widths["m_axis_out_tdata"],
    }
    ports = [("clk", "input", 1), ("rst", "input", 1), ("mutant", "input", 32)]
    lines = [
        f"{direction} [{width - 1}:0] {name}" if width > 1 else f"{direction} {name}"
        for name, direction, width in ports + core_ports(config)
    ]
    head = "module stos_core(\n  " + ",\n  ".join(lines) + ");\n"
    head += "".join(f"  localparam {name} = {size};\n" for name, size in sizes.items())
    return emit_verilog(config, name="inner_core") + "\n" + head + _BODY + "endmodule\n"
