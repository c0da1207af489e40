// The streams of the core keep the rules of AXI4-Stream and carry the beats that
// docs/interface.md promises, whatever its neighbours do.
`include "plan.sv"

module check_streams(
    input clk, rst, cmd_valid, act_valid, wgt_valid, out_ready,
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

    // Results: all that the commands ask for, when they are due, tlast on the last one of a command.
    // Nothing that the operands do after a fold's last ones changes that.
    always @* if (run) begin
        chain_meet: assert(!(step && (coming >> 1 & results_in)));
        leave_valid: assert(out_valid == (coming[0] || !step));
        if (out_valid) leave_last: assert(out_last == (step ? closing[0] : kept_last));
    end
endmodule
