// Four-state test bench of a core: every input bit that nobody drives is X, nothing is initialised.
//
// Plain Verilog-2001. The files in the folder +dir= say what to do; icarus.py writes them from tiles:
// cmd.mem, act.mem, wgt.mem: beats, with x for every bit that the core must not use;
// out.mem: {tlast, tdata} of the results, with x for every bit that nobody reads;
// runs.txt: one run a line. A run starts with a reset of one cycle, after `unknown` cycles with X on
// all inputs, takes a range of each file's beats, and ends after the last one or in cycle `stop`.

// An AXI4-Stream source. Its data is X while it has none, and everything is X while `blank`.
module source #(parameter WIDTH = 1, DEPTH = 1) (
  input clk, rst, blank, tready,
  input [31:0] first, last, idle, seed,  // beats first to last - 1; idle cycles in percent
  output [WIDTH-1:0] tdata,
  output tvalid,
  output reg [31:0] next                  // the beat on offer, or the next one
);
  reg [WIDTH-1:0] memory [0:DEPTH-1];
  reg loaded;
  integer dice, after;
  assign tvalid = blank ? 1'bx : loaded;
  assign tdata = tvalid === 1'b1 ? memory[next] : {WIDTH{1'bx}};

  always @(posedge clk) begin
    if (rst) dice = seed;
    after = rst ? first : next + (loaded && tready);
    if (rst || !loaded || tready)
      loaded <= after != last && {$random(dice)} % 100 >= idle;
    next <= after;
  end
endmodule

module bench;
  parameter ACT = 8, WGT = 8, OUT = 32;   // bits of tdata
  parameter LANE = 32;                    // bits of a lane of m_axis_out
  parameter CMDS = 1, ACTS = 1, WGTS = 1, OUTS = 1;  // beats in the files
  parameter FLUSH = 2;                    // the cycle after reset in which commands are first taken
  parameter TAIL = 8;                     // cycles in which nothing may follow the last result
  parameter PATIENCE = 1000;              // cycles without any transfer that mean a hang

  reg clk = 0, rst = 0, blank = 1;
  always #1 clk = ~clk;

  // The run, in the order of the fields of a line of runs.txt.
  integer cmd_first, cmd_last, act_first, act_last, wgt_first, wgt_last, out_first, out_last;
  integer idle_cmd, idle_act, idle_wgt, pressure, seed, unknown, stop, cycles;
  integer file, run, dice, result, cycle, start, progress, tail, lane, at, total_beats, total_cycles;

  wire [64:0] cmd;                        // bit 64: the command is illegal
  wire [ACT-1:0] act;
  wire [WGT-1:0] wgt;
  wire [OUT-1:0] out;
  wire cmd_valid, cmd_ready, act_valid, act_ready, wgt_valid, wgt_ready;
  wire out_valid, out_last_beat, cmd_error;
  wire [31:0] cmd_next, act_next, wgt_next;
  reg out_ready, error, waiting;
  reg [OUT:0] results [0:OUTS-1];
  reg [OUT:0] want, held;
  reg [8*1024-1:0] dir, wave;

  source #(.WIDTH(65), .DEPTH(CMDS)) cmds (
    .clk(clk), .rst(rst), .blank(blank), .tready(cmd_ready), .first(cmd_first), .last(cmd_last),
    .idle(idle_cmd), .seed(seed), .tdata(cmd), .tvalid(cmd_valid), .next(cmd_next));
  source #(.WIDTH(ACT), .DEPTH(ACTS)) acts (
    .clk(clk), .rst(rst), .blank(blank), .tready(act_ready), .first(act_first), .last(act_last),
    .idle(idle_act), .seed(seed + 1), .tdata(act), .tvalid(act_valid), .next(act_next));
  source #(.WIDTH(WGT), .DEPTH(WGTS)) wgts (
    .clk(clk), .rst(rst), .blank(blank), .tready(wgt_ready), .first(wgt_first), .last(wgt_last),
    .idle(idle_wgt), .seed(seed + 2), .tdata(wgt), .tvalid(wgt_valid), .next(wgt_next));

  stos_core core (
    .clk(clk), .rst(rst),
    .s_axis_cmd_tdata(cmd[63:0]), .s_axis_cmd_tvalid(cmd_valid), .s_axis_cmd_tready(cmd_ready),
    .s_axis_act_tdata(act), .s_axis_act_tvalid(act_valid), .s_axis_act_tready(act_ready),
    .s_axis_wgt_tdata(wgt), .s_axis_wgt_tvalid(wgt_valid), .s_axis_wgt_tready(wgt_ready),
    .m_axis_out_tdata(out), .m_axis_out_tvalid(out_valid), .m_axis_out_tready(out_ready),
    .m_axis_out_tlast(out_last_beat), .cmd_error(cmd_error));

  // "FAIL run cycle check: ...": icarus.py adds what the run is.
  task fail;
    input [16*8-1:0] check;
    begin
      $write("FAIL %0d %0d %0s: ", run, cycle, check);
    end
  endtask

  task handshake;
    input [24*8-1:0] name;
    input value;
    if (value === 1'bx || value === 1'bz) begin
      fail("handshake");
      $display("%0s is %b", name, value);
      $finish;
    end
  endtask

  // Everything that must hold in a cycle, seen at the clock edge that ends it.
  task check;
    begin
      handshake("s_axis_cmd_tready", cmd_ready);
      handshake("s_axis_act_tready", act_ready);
      handshake("s_axis_wgt_tready", wgt_ready);
      handshake("m_axis_out_tvalid", out_valid);
      if (cmd_error !== error) begin
        fail("cmd_error");
        $display("cmd_error is %b, not %b", cmd_error, error);
        $finish;
      end
      if (cycle <= FLUSH && cmd_ready !== (cycle == FLUSH)) begin
        fail("flush");
        $display("s_axis_cmd_tready is %b %0d cycles after reset", cmd_ready, cycle);
        $finish;
      end
      if (waiting && (out_valid !== 1'b1 || {out_last_beat, out} !== held)) begin
        fail("stable");
        $display("m_axis_out changed while it waited for tready: %b %b, was %b",
                 out_valid, {out_last_beat, out}, held);
        $finish;
      end
      if (out_valid === 1'b1) begin
        if (result == out_last) begin
          fail("extra");
          $display("m_axis_out sent more than %0d beats", out_last - out_first);
          $finish;
        end
        want = results[result];
        if (out_last_beat !== want[OUT]) begin
          fail("tlast");
          $display("m_axis_out_tlast is %b, not %b, beat %0d", out_last_beat, want[OUT],
                   result - out_first);
          $finish;
        end
        for (lane = 0; lane < OUT; lane = lane + LANE)
          if (want[lane] !== 1'bx && out[lane +: LANE] !== want[lane +: LANE]) begin
            at = lane;
            while (out[at] === want[at]) at = at + 1;
            fail(^out[lane +: LANE] === 1'bx ? "unknown" : "value");
            $display("m_axis_out_tdata bit %0d (lane %0d bit %0d) of beat %0d: lane is %b, not %b",
                     at, lane / LANE, at - lane, result - out_first,
                     out[lane +: LANE], want[lane +: LANE]);
            $finish;
          end
      end
    end
  endtask

  // What was transferred in the cycle that has just been checked.
  task account;
    begin
      progress = progress + 1;
      if (cmd_valid && cmd_ready) begin
        if (start == 0) start = cycle;
        if (cmd[64]) error = 1;
      end
      if ((cmd_valid && cmd_ready) || (act_valid && act_ready) || (wgt_valid && wgt_ready))
        progress = 0;
      tail = result == out_last && cmd_next == cmd_last && act_next == act_last
             && wgt_next == wgt_last ? tail + 1 : 0;
      waiting = out_valid && !out_ready;
      held = {out_last_beat, out};
      if (out_valid && out_ready) begin
        progress = 0;
        result = result + 1;
        total_beats = total_beats + 1;
        if (result == out_last && cycles != 0 && cycle - start != cycles) begin
          fail("cycles");
          $display("the last result came %0d cycles after the first command, not %0d",
                   cycle - start, cycles);
          $finish;
        end
      end
      if (progress > PATIENCE) begin
        fail("hang");
        $display("nothing moves; to come: %0d results, %0d commands, %0d act and %0d wgt beats",
                 out_last - result, cmd_last - cmd_next, act_last - act_next, wgt_last - wgt_next);
        $finish;
      end
    end
  endtask

  initial begin
    if (!$value$plusargs("dir=%s", dir)) dir = ".";
    $readmemb({dir, "/cmd.mem"}, cmds.memory);
    $readmemb({dir, "/act.mem"}, acts.memory);
    $readmemb({dir, "/wgt.mem"}, wgts.memory);
    $readmemb({dir, "/out.mem"}, results);
    if ($value$plusargs("vcd=%s", wave)) begin
      $dumpfile(wave);
      $dumpvars;
    end
    file = $fopen({dir, "/runs.txt"}, "r");
    run = 0;
    total_beats = 0;
    total_cycles = 0;
    while ($fscanf(file, "%d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d\n",
                   cmd_first, cmd_last, act_first, act_last, wgt_first, wgt_last, out_first,
                   out_last, idle_cmd, idle_act, idle_wgt, pressure, seed, unknown, stop,
                   cycles) == 16)
    begin
      blank <= 1;
      out_ready <= 1'bx;
      repeat (unknown) @(posedge clk);
      rst <= 1;
      @(posedge clk);
      rst <= 0;
      blank <= 0;
      cycle = 0;
      start = 0;
      progress = 0;
      tail = 0;
      waiting = 0;
      error = 0;
      result = out_first;
      dice = seed + 3;
      while (stop != 0 ? cycle != stop : tail != TAIL) begin
        out_ready <= {$random(dice)} % 100 >= pressure;
        @(posedge clk);
        cycle = cycle + 1;
        check;
        account;
      end
      run = run + 1;
      total_cycles = total_cycles + cycle;
    end
    $display("PASS %0d runs, %0d beats, %0d cycles", run, total_beats, total_cycles);
    $finish;
  end
endmodule
