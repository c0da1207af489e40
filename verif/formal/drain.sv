// Rows that share a lane (docstring of hw/control/drain.py): of EVERY rows no two give a result in the
// same step, and every row gives one for every token.
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
    // before the tokens of a GEMM have left the rows.
    wire valid = i_token[0];
    reg [5:0] age, age_gemm;  // steps since the last token, and since that of a GEMM
    reg direct;
    always @(posedge clk) if (rst) begin
        age <= 63;
        age_gemm <= 63;
        direct <= 0;
    end else if (i_en) begin
        age <= valid ? 1 : age + (age != 63);
        age_gemm <= valid && !i_direct ? 1 : age_gemm + (age_gemm != 63);
        direct <= i_direct;
    end
    always @* if (!rst) begin
        assume(valid || i_token == 0);
        if (valid) assume(age >= `EVERY);
        if (i_direct != direct) assume(valid);
        if (i_direct && !direct) assume(age_gemm >= `ROWS + `COLS);
    end

    // Steps until row r gives a result, as a line of tokens: to the rows at once, or by the wave.
    reg [63:0] row_0, all;
    always @(posedge clk) if (rst) begin
        row_0 <= 0;
        all <= 0;
    end else if (i_en) begin
        row_0 <= {row_0[62:0], valid && !i_direct};
        all <= {all[62:0], valid && i_direct};
    end
    reg [`ROWS-1:0] wanted;
    integer r;
    always @* for (r = 0; r < `ROWS; r = r + 1)
        wanted[r] = row_0[`COLS + `MAC_STAGES - 1 + r] || all[`MAC_STAGES + r % `EVERY];

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
        shift_wanted: assert(o_shift == wanted);    // one result for every token, in its step
        shift_alone: assert(!shared);               // and never two of a lane in one step
        // The output is valid with the last row, a step after its token.
        out_valid: assert(o_valid == wanted[`ROWS - 1]);
    end
endmodule
