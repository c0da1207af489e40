// A 4 x 4 core (python -m hw.gen --rows 4 --cols 4 --st-os) computes Y = A @ B for a 4 x 3 matrix A
// with A[r, k] = r + k and a 3 x 4 matrix B with B[k, n] = n - k, and prints Y, one column a line.
// Run: verilator --binary --timing -CFLAGS -std=c++20 -Wno-fatal -Wno-lint docs/example.v \
//      build/stos_core.v && obj_dir/Vexample
module example;
  reg clk = 0, rst = 1, cmd_valid = 0;
  reg [7:0] k = 0;
  wire cmd_ready, act_ready, wgt_ready, y_valid, y_last, cmd_error;
  wire [127:0] y;
  always #5 clk = ~clk;

  wire [7:0] k1 = k + 8'd1, k2 = k + 8'd2, k3 = k + 8'd3;
  stos_core core (
    .clk(clk), .rst(rst),
    .s_axis_cmd_tdata({16'd0, 16'd4, 16'd1, 16'd3}),  // emit 4, folds 1, depth 3
    .s_axis_cmd_tvalid(cmd_valid), .s_axis_cmd_tready(cmd_ready),
    .s_axis_act_tdata({k3, k2, k1, k}),  // A[:, k], lane 0 in the low bits
    .s_axis_act_tvalid(1'b1), .s_axis_act_tready(act_ready),
    .s_axis_wgt_tdata({8'd3 - k, 8'd2 - k, 8'd1 - k, 8'd0 - k}),  // B[k, :]
    .s_axis_wgt_tvalid(1'b1), .s_axis_wgt_tready(wgt_ready),
    .m_axis_out_tdata(y), .m_axis_out_tvalid(y_valid),
    .m_axis_out_tready(1'b1), .m_axis_out_tlast(y_last),
    .cmd_error(cmd_error)
  );

  initial begin
    repeat (2) @(posedge clk);
    rst <= 0;
    cmd_valid <= 1;
  end
  always @(posedge clk) if (!rst) begin
    if (cmd_ready) cmd_valid <= 0;  // one command only
    if (act_ready) k <= k + 8'd1;
    if (y_valid)
      $display("%0d %0d %0d %0d",
               $signed(y[31:0]), $signed(y[63:32]), $signed(y[95:64]), $signed(y[127:96]));
    if (y_valid && y_last) $finish;
  end
endmodule
