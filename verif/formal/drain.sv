// Rows that share a lane (docstring of hw/control/drain.py): of EVERY rows no two give a result in
// the same step, and every row gives one for every token.
module check_drain(
    input clk, rst, i_en, i_direct, i_extra,
    input [2:0] i_token  // valid, first, last
);
    wire [`ROWS-1:0] o_release, o_shift, o_extra;
    wire o_valid, o_last, o_bypass;
    stos_accelerator_drain dut(
        .clk, .rst, .i_en, .i_token, .i_extra, .i_direct, .o_release, .o_shift, .o_extra, .o_valid,
        .o_last, .o_bypass
    );

    reg first = 1;
    always @(posedge clk) first <= 0;
    always @* if (first) assume(rst);

    // Tokens come EVERY steps apart or more. `i_direct` changes with a token only, and is not set
    // before the tokens of a GEMM have left the rows. `i_extra` changes behind a token only.
    wire valid = i_token[0];
    reg [5:0] age, age_gemm;  // steps since the last token, and since that of a GEMM
    reg direct, behind, same;
    always @(posedge clk) if (rst) begin
        age <= 63;
        age_gemm <= 63;
        direct <= 0;
        behind <= 1;
    end else if (i_en) begin
        behind <= valid;
        same <= i_extra;
        age <= valid ? 1 : age + (age != 63);
        age_gemm <= valid && !i_direct ? 1 : age_gemm + (age_gemm != 63);
        direct <= i_direct;
    end
    always @* if (!rst) begin
        assume(valid || i_token == 0);
        if (valid) assume(age >= `EVERY);
        if (i_direct != direct) assume(valid);
        if (!behind) assume(i_extra == same);
        if (i_direct && !direct) assume(age_gemm >= `ROWS + `COLS);
    end

    // Tokens of the steps before, the newest one in bit 0: of GEMM, of ST-OS; what they say.
    reg [63:0] wave, all, heads, tails, extras;
    always @(posedge clk) if (rst) begin
        {wave, all} <= 0;
    end else if (i_en) begin
        wave <= {wave[62:0], valid && !i_direct};
        all <= {all[62:0], valid && i_direct};
        heads <= {heads[62:0], i_token[1]};
        tails <= {tails[62:0], i_token[2]};
        extras <= {extras[62:0], i_extra};
    end

    // The token at row r, as old as it is there; one step later its result leaves.
    reg [`ROWS-1:0] token, head, extra, leaves;
    integer r, at, now;
    always @* for (r = 0; r < `ROWS; r = r + 1) begin
        at = `COLS + `MAC_STAGES - 2 + r;
        now = `MAC_STAGES - 1 + r % `EVERY;
        token[r] = wave[at] || all[now];
        head[r] = wave[at] && heads[at] || all[now] && heads[now];
        extra[r] = wave[at] && extras[at] || all[now] && extras[now];
        leaves[r] = wave[at + 1] || all[now + 1];
    end
    // The output is valid with the last row.
    localparam OLD = `COLS + `MAC_STAGES - 1 + `ROWS - 1, DIRECT = `MAC_STAGES + `EVERY - 1;
    wire tail = wave[OLD] && tails[OLD] || all[DIRECT] && tails[DIRECT];

    reg shared;
    integer g, k;
    always @* begin
        shared = 0;
        for (g = 0; g < `ROWS; g = g + `EVERY)
            for (k = 1; k < `EVERY; k = k + 1)
                for (r = 0; r < k; r = r + 1)
                    shared = shared || (o_shift[g + r] && o_shift[g + k]);
    end

    always @* if (!first && !rst) begin
        shift_wanted: assert(o_shift == leaves);    // one result for every token, in its step
        shift_alone: assert(!shared);               // and never two of a lane in one step
        release_head: assert(o_release == head);    // by the first token of a fold
        release_extra: assert((o_extra & token) == extra);
        out_valid: assert(o_valid == leaves[`ROWS - 1]);
        if (o_valid) begin
            out_last: assert(o_last == tail);
            out_bypass: assert(o_bypass == all[DIRECT]);
        end
    end
endmodule
