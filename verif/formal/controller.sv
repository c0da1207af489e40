// The controller lets in what the commands ask for, and keeps its rules (docstring of
// Controller), whatever commands come and whenever operands come and the array stands still.
`include "plan.sv"

module check_controller(
    input clk, rst, i_en, i_cmd_valid, i_act_valid, i_wgt_valid,
    input [63:0] i_cmd
);
    wire o_cmd_ready, o_act_ready, o_wgt_ready, o_move, o_cmd_error;
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

    reg init = 1;
    always @(posedge clk) init <= 0;
    always @* if (init) assume(rst);
    wire run = !init && !rst;

    wire take = i_cmd_valid && o_cmd_ready && !rst;
    wire beat = i_act_valid && o_act_ready && !rst, weights = i_wgt_valid && o_wgt_ready && !rst;
    wire legal, busy, full, st_os, accumulate, tap, first, last, finish, ends, started, keeps;
    wire [3:0] width;
    plan plan(
        .clk, .rst, .take, .word(i_cmd), .beat, .legal, .busy, .st_os, .accumulate, .tap, .first,
        .last, .finish, .ends, .started, .keeps, .width, .full
    );

    // Beats: only for a command, only when the array moves, both operands at once.
    always @* if (run) begin
        if (beat) beats_en: assert(busy && i_en);
        beats_both: assert(weights == (beat && tap));
        if (take && legal && full) beats_full: assert(beat && ends);
    end

    // What the beat of the step before has to bring.
    reg was_beat, was_tap, was_first, was_finish, was_st_os, was_accumulate, resting;
    always @(posedge clk) if (rst) begin
        {was_beat, was_tap, was_first, was_finish, was_st_os, resting} <= 0;
    end else if (i_en) begin
        was_beat <= beat;
        was_tap <= beat && tap;
        was_first <= beat && first;
        was_finish <= beat && finish;
        was_st_os <= st_os;
        was_accumulate <= accumulate;
        resting <= !beat && started && st_os;  // an ST-OS pass waits for an operand
    end

    // Tags. A mark without valid may clear sums, but none that is wanted.
    reg zero;  // the sums that the next beat meets are zero
    always @(posedge clk) if (rst) zero <= 0;
        else if (i_en && o_tags[1]) zero <= 1;
        else if (i_en && o_tags[0]) zero <= 0;
    always @* if (run) begin
        tags_valid: assert(o_tags[0] == was_tap);
`ifdef TWO_ACCUMULATORS
        if (was_tap) tags_mark: assert(o_tags[1] == was_finish);
        if (was_first) sums_start: assert(zero == !was_accumulate);
`else
        sums_start: assert(o_tags[1] == (was_first && !was_accumulate));
`endif
    end

    // Results: a token per result in consecutive steps, whatever the operands do meanwhile.
    reg [3:0] owed;
    reg closing, direct;
    reg [2:0] token;
    always @(posedge clk) if (rst) {owed, token} <= 0;
    else if (i_en) begin
        if (beat && finish) begin
            owed <= width - 1;
            closing <= ends;
            direct <= st_os;
            token <= {ends && width == 1, 2'b11};
        end else begin
            owed <= owed - (owed != 0);
            token <= {closing && owed == 1, 1'b0, owed != 0};
        end
    end
    always @* if (run) begin
        tokens_come: assert(o_token == token);
        if (token[0]) tokens_direct: assert(o_token_direct == direct);
    end

    // Results of two folds must not meet on a row's chain.
    reg [3:0] age, before;  // of the last beat of the fold before, and its results
    wire [3:0] now = keeps ? `COLS : width;
    wire [3:0] room = before > now ? before : now;
`ifdef TWO_ACCUMULATORS
    wire gated = beat && finish;
`else
    wire gated = beat && first && !accumulate;
`endif
    always @(posedge clk) if (rst) age <= 15;
        else if (i_en && beat && finish) begin age <= 1; before <= width; end
        else if (i_en && age != 15) age <= age + 1;
    always @* if (run && gated) begin
        chain_room: assert(age >= room);
        chain_owed: assert(owed == 0);
    end

    // Changing over.
    reg [3:0] wave;     // steps since operands of a GEMM tile entered, or since reset
    reg wanted;         // it is of a tile
    reg south;          // broadcast operands lie in the PEs
    always @(posedge clk) if (rst) begin wave <= 1; {wanted, south} <= 0; end
    else if (i_en) begin
        south <= o_broadcast && o_tags != 0;
        wave <= o_tags != 0 && !o_broadcast ? 1 : wave + (wave != 15);
        wanted <= wanted || (o_tags != 0 && !o_broadcast);
    end
    always @* if (run) begin
        if (was_beat) mode_beat: assert(o_broadcast == was_st_os);
        if (south) south_none: assert(o_broadcast);                         // none travels south
        if (o_broadcast) wave_out: assert(wave > `ROWS + `COLS - 2);      // the wave is out
    end

    // Activations.
    always @* if (run) begin
        if (was_beat) move_beat: assert(o_move == i_en);
        if (wanted && wave <= `ROWS + `COLS - 2) move_wave: assert(o_move == i_en);  // the wave goes on
        if (resting || !i_en) move_rest: assert(!o_move);
    end

    // Commands: none for ROWS + COLS cycles after reset, an error only if one was illegal.
    reg [4:0] cycles;
    reg error;
    always @(posedge clk) if (rst) {cycles, error} <= 0;
    else begin
        if (cycles != 31) cycles <= cycles + 1;
        if (take && !legal) error <= 1;
    end
    always @* if (run) begin
        if (cycles < `ROWS + `COLS) reset_wait: assert(!o_cmd_ready);
        error_sticky: assert(o_cmd_error == error);
    end

    // Nothing hangs: with operands there, no beat waits longer than both rules together.
    reg [4:0] waited;
    always @(posedge clk) if (rst || beat || !busy) waited <= 0;
        else if (i_en && i_act_valid && i_wgt_valid) waited <= waited + 1;
    always @* if (run) prompt_beat: assert(waited <= 2 * `COLS + `ROWS + 1);
endmodule
