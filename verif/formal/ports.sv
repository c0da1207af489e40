// The core between free ports, and the beats that cross them. Included by the checkers of the core.
    reg init = 1;
    always @(posedge clk) init <= 0;
    always @* if (init) assume(rst);
    wire run = !init && !rst;

    wire cmd_ready, act_ready, wgt_ready, out_valid, out_last, cmd_error;
    wire [`ROWS*`PITCH-1:0] out;
    stos_core dut(
        .clk, .rst,
        .s_axis_cmd_tdata(cmd), .s_axis_cmd_tvalid(cmd_valid), .s_axis_cmd_tready(cmd_ready),
        .s_axis_act_tdata(act), .s_axis_act_tvalid(act_valid), .s_axis_act_tready(act_ready),
        .s_axis_wgt_tdata(wgt), .s_axis_wgt_tvalid(wgt_valid), .s_axis_wgt_tready(wgt_ready),
        .m_axis_out_tdata(out), .m_axis_out_tvalid(out_valid), .m_axis_out_tready(out_ready),
        .m_axis_out_tlast(out_last), .cmd_error
    );
    wire take = cmd_valid && cmd_ready && !rst;
    wire beat = act_valid && act_ready && !rst;
    wire weights = wgt_valid && wgt_ready && !rst;
    wire sent = out_valid && out_ready && !rst;

    wire legal, busy, full, st_os, accumulate, tap, first, last, finish, ends;
    wire [3:0] width;
    plan plan(
        .clk, .rst, .take, .word(cmd), .beat, .legal, .busy, .st_os, .accumulate, .tap, .first,
        .last, .finish, .ends, .width, .full
    );

    // When a fold's last operands are in, its results are on the way: the first one is at the
    // output LATENCY steps later, and then one per step. A step is a cycle in which no result waits
    // (skid.sv).
    localparam WAVE = `ROWS + `COLS + `MAC_STAGES - 1, DIRECT = `MAC_STAGES + 1, LINE = WAVE + `COLS;
    reg [LINE-1:0] coming, closing;  // bit i: a result, the last one of its command, in i steps
    reg step, kept_last;
    wire [LINE-1:0] results_in = beat && finish ? ((1 << width) - 1) << (st_os ? DIRECT : WAVE) : 0;
    wire [LINE-1:0] last_in = beat && ends && finish ? 1 << (st_os ? DIRECT : WAVE) + width - 1 : 0;
    always @(posedge clk) begin
        if (step) begin
            coming <= coming >> 1 | results_in;
            closing <= closing >> 1 | last_in;
            kept_last <= closing[0];
        end
        step <= rst || !out_valid || out_ready;
        if (rst) {coming, closing} <= 0;
    end
