// An illegal command changes nothing but cmd_error: of two controllers with the same surroundings, one
// gets only the legal commands of the other, and both do the same for ever. All 64 bits are free.
module check_twin(
    input clk, rst, i_en, i_cmd_valid, i_act_valid, i_wgt_valid,
    input [63:0] i_cmd
);
    reg init = 1;
    always @(posedge clk) init <= 0;
    always @* if (init) assume(rst);

    // Legal commands, by docs/interface.md.
    wire [15:0] depth = i_cmd[15:0], folds = i_cmd[31:16], emit = i_cmd[47:32];
    wire st_os = i_cmd[48], accumulate = i_cmd[49];
    reg kept;  // the last legal command had emit = 0
    reg legal;
    always @* begin
        legal = depth != 0 && folds != 0 && emit <= `COLS && i_cmd[63:50] == 0;
        if (folds != 1 && (!st_os || emit == 0 || accumulate)) legal = 0;
        if (accumulate && !kept) legal = 0;
`ifdef ST_OS
        if (st_os && depth > `COLS) legal = 0;
`else
        if (st_os) legal = 0;
`endif
    end
    wire take;
    always @(posedge clk) if (rst) kept <= 0; else if (take && legal) kept <= emit == 0;
    reg error;
    always @(posedge clk) error <= !rst && (error || (take && !legal));

    wire [9:0] one, two;
    wire error_one, error_two, ready_one, ready_two;
    controller_outputs all(
        .clk, .rst, .i_en, .i_cmd, .i_cmd_valid, .i_act_valid, .i_wgt_valid,
        .outputs(one), .o_cmd_error(error_one), .o_cmd_ready(ready_one)
    );
    controller_outputs some(
        .clk, .rst, .i_en, .i_cmd, .i_cmd_valid(i_cmd_valid && legal), .i_act_valid, .i_wgt_valid,
        .outputs(two), .o_cmd_error(error_two), .o_cmd_ready(ready_two)
    );
    assign take = i_cmd_valid && ready_one && !rst;
    always @* if (!init) begin
        illegal_same: assert(one == two && ready_one == ready_two);
        illegal_error: assert(error_one == error);
        illegal_none: assert(!error_two);
    end
endmodule

module controller_outputs(
    input clk, rst, i_en, i_cmd_valid, i_act_valid, i_wgt_valid,
    input [63:0] i_cmd,
    output [9:0] outputs,
    output o_cmd_error, o_cmd_ready
);
    wire o_act_ready, o_wgt_ready, o_move;
    wire [1:0] o_tags;
    wire [2:0] o_token;
`ifdef ST_OS
    wire o_broadcast, o_token_direct;
`else
    wire o_broadcast = 0, o_token_direct = 0;
`endif
    stos_core_controller dut(
        .clk, .rst, .i_en, .i_cmd, .i_cmd_valid, .i_act_valid, .i_wgt_valid,
`ifdef ST_OS
        .o_broadcast, .o_token_direct,
`endif
        .o_cmd_ready, .o_act_ready, .o_wgt_ready, .o_move, .o_cmd_error, .o_tags, .o_token
    );
    assign outputs = {
        o_act_ready, o_wgt_ready, o_move, o_tags, o_token, o_broadcast,
        o_token_direct && o_token != 0  // of no meaning without a token
    };
endmodule
