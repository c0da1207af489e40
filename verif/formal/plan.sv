// What the commands ask for, beat by beat, written from docs/interface.md and docs/dataflow.md: which
// commands are legal, and what the next beat of the oldest unfinished one is.
module plan(
    input clk, rst,
    input take,         // a command is taken
    input [63:0] word,
    input beat,         // an activation beat is taken
    output legal,       // the command would be legal now
    output busy,        // a command is unfinished
    output st_os, accumulate,
    output tap,         // the next beat carries weights
    output first, last, // it is the first, the last one of its fold that does
    output finish,      // it is the last one of a fold that sends results
    output ends,        // it is the last one of its command
    output started,     // its command has had a beat before
    output keeps,       // its command sends nothing
    output [3:0] width, // results per row of its fold
    output full         // two commands are unfinished: the core must not take a third
);
    wire [15:0] depth_w = word[15:0], folds_w = word[31:16], emit_w = word[47:32];
    wire st_os_w = word[48], accumulate_w = word[49];
    reg kept;
`ifdef ST_OS
    wire mode_ok = !st_os_w || depth_w <= `COLS;
`else
    wire mode_ok = !st_os_w;
`endif
    assign legal = depth_w >= 1 && emit_w <= `COLS && folds_w >= 1 && word[63:50] == 0 && mode_ok
        && (folds_w == 1 || (st_os_w && emit_w != 0 && !accumulate_w))
        && (!accumulate_w || kept);

    // Small commands only: DEPTH and FOLDS (at most 3) are the largest ones.
    always @* if (take && legal) assume(depth_w <= `DEPTH && folds_w <= `FOLDS);

    reg [1:0] count;
    reg [3:0] depth, depth_2, emit, emit_2;
    reg [1:0] folds, folds_2;
    reg mode, mode_2, more, more_2;
    reg [4:0] u;  // beats of the command so far
    wire pop = beat && ends, push = take && legal;
    wire [1:0] rest = count - pop;
    always @(posedge clk) begin
        if (push) kept <= emit_w == 0;
        if (pop) {depth, emit, folds, mode, more} <= {depth_2, emit_2, folds_2, mode_2, more_2};
        if (push) begin
            {depth_2, emit_2, folds_2} <= {depth_w[3:0], emit_w[3:0], folds_w[1:0]};
            {mode_2, more_2} <= {st_os_w, accumulate_w};
            if (rest == 0) begin
                {depth, emit, folds} <= {depth_w[3:0], emit_w[3:0], folds_w[1:0]};
                {mode, more} <= {st_os_w, accumulate_w};
            end
        end
        count <= rest + push;
        u <= pop ? 0 : u + beat;
        if (rst) {kept, count, u} <= 0;
    end

    // Tap k of fold f of an ST-OS pass is beat f * COLS + COLS - 1 + k; a GEMM tile is one fold.
    wire filling = mode && u < `COLS - 1;
    wire [4:0] since = u - (`COLS - 1);
    wire [1:0] f = !mode ? 0 : (since >= `COLS) + (since >= 2 * `COLS) + (since >= 3 * `COLS);
    wire [4:0] k = mode ? since - f * `COLS : u;
    wire last_fold = !filling && f == folds - 1;
    assign busy = count != 0;
    assign full = count == 2;
    assign {st_os, accumulate} = {mode, more};
    assign tap = !filling && k < depth;
    assign first = tap && k == 0;
    assign last = tap && k == depth - 1;
    assign finish = last && emit != 0;
    assign ends = last && last_fold;
    assign keeps = emit == 0;
    assign width = last_fold ? emit : `COLS;
    assign started = u != 0;
endmodule
