// The results have the values of the equations (hw/core.py), each in its own beat, whatever was in
// the core before its reset:
//     GEMM   Y[r, n] = sum_k A[r, k] * B[k, n]
//     ST-OS  y[r, i] = sum_k w[r, k] * x[r, i + k]
// Checked for any one row and any one column of any one fold.
`include "plan.sv"

module check_values(
    input clk, rst, cmd_valid, act_valid, wgt_valid, out_ready, watch,
    input [63:0] cmd,
    input [`ROWS*8-1:0] act,
    input [`LANES*8-1:0] wgt
);
`include "ports.sv"

    (* anyconst *) reg [2:0] row, column;
    always @* assume(row < `ROWS && column < `COLS);

    // x[u], x[u - 1], ... of the row; the reference for one output.
    wire signed [`ACT_WIDTH-1:0] x = act[8*row +: `ACT_WIDTH];
    wire signed [`WEIGHT_WIDTH-1:0] w = wgt[8*(st_os ? row : column) +: `WEIGHT_WIDTH];
    reg [`COLS*`ACT_WIDTH-1:0] line;
    wire [`COLS*`ACT_WIDTH-1:0] history = {line, x};
    wire signed [`ACT_WIDTH-1:0] a = history[`ACT_WIDTH*(st_os ? `COLS-1-column : 0) +: `ACT_WIDTH];
    reg signed [`ACC_WIDTH-1:0] sum;
    wire signed [`ACC_WIDTH-1:0] total = (first && !accumulate ? 0 : sum) + a * w;
    always @(posedge clk) if (beat) begin
        line <= history;
        if (tap) sum <= total;
    end

    // The watched result, and when it is due.
    reg watching;
    reg [LINE-1:0] due;
    reg signed [`ACC_WIDTH-1:0] value;
    wire start = watch && !watching && beat && finish && column < width;
    always @(posedge clk) begin
        if (step) due <= due >> 1 | (start ? 1 << (st_os ? DIRECT : WAVE) + column : 0);
        if (start) value <= total;
        watching <= !rst && (start || (watching && !(step && due[0])));
        if (rst) due <= 0;
    end
    wire signed [`ACC_WIDTH-1:0] got = out[`PITCH*row +: `ACC_WIDTH];
    always @* if (run && step && due[0]) begin
        value_valid: assert(out_valid);
        value_equal: assert(got == value);
        value_sign: assert($signed(out[`PITCH*row +: `PITCH]) == got);
    end

`ifdef REACH
    // Not a property: its counterexample shows that the proof is deep enough for two commands.
    reg [1:0] done;
    always @(posedge clk) done <= rst ? 0 : done + (sent && out_last);
    always @* if (run) reach_two: assert(done < 2);
`endif
endmodule
