// The streams of the core keep the rules of AXI4-Stream and carry the beats that
// docs/interface.md promises, whatever its neighbours do.
`include "plan.sv"

module check_streams(
    input clk, rst, cmd_valid, act_valid, wgt_valid, out_ready, watch,
    input [63:0] cmd,
    input [`ROWS*8-1:0] act,
    input [`LANES*8-1:0] wgt
);
`include "ports.sv"

    // A result that waits stays, and stays the same.
    reg stuck, shown_last;
    reg [`ROWS*`PITCH-1:0] shown;
    always @(posedge clk) begin
        stuck <= out_valid && !out_ready && !rst;
        {shown, shown_last} <= {out, out_last};
    end
    always @* if (run && stuck) begin
        stable_valid: assert(out_valid);
        stable_data: assert(out == shown);
        stable_last: assert(out_last == shown_last);
    end

    // Operands are taken for a command only, both at once.
    always @* if (run) begin
        taken_act: assert(!beat || busy);
        taken_wgt: assert(weights == (beat && tap));
        taken_cmd: assert(!(take && legal && full) || (beat && ends));
    end

    // Results: none without its operands, none too many, tlast on the last one of a command.
    reg [5:0] due;           // promised by commands, not sent
    reg watched;             // any one command with results is watched:
    reg [5:0] left, length;  // results until and with its last one, and its own
    wire [5:0] promised = take && legal ? results : 0;
    wire start = watch && !watched && promised != 0;
    always @(posedge clk) begin
        due <= rst ? 0 : due + promised - sent;
        watched <= !rst && (start || (watched && !(sent && left == 1)));
        left <= start ? due - sent + promised : left - sent;
        if (start) length <= promised;
    end
    always @* if (run && out_valid) begin
        count_ripe: assert(ripe != 0);
        count_due: assert(due != 0);
        if (watched && left <= length) last_exact: assert(out_last == (left == 1));
    end

    // Results never wait for input: while the sink takes, one is out in the core's latency.
    reg [4:0] waited;
    always @(posedge clk) if (rst || sent || ripe == 0) waited <= 0; else waited <= waited + out_ready;
    always @* if (run) prompt_out: assert(waited <= `ROWS + `COLS + `MAC_STAGES + 1);
endmodule
