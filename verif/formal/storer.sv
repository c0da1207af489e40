// Writes of the accelerator (docstring of hw/accelerator/storer.py): every beat of a range is read
// once, in order, and written in bursts, with its data and with the bytes that belong to the range.
module check_storer(
    input clk, rst, i_begin, i_stop, i_aw_ready, i_w_ready, i_b,
    input [`ADDRESS-1:0] i_address,
    input [`LOCAL:0] i_bytes,
    input [`LOCAL-1:0] i_local
);
    localparam BITS = $clog2(`BUS), PLACE = 8 - BITS;
    reg first = 1;
    always @(posedge clk) first <= 0;
    wire reset = rst || first;  // as the first cycle has it
    always @* if (first) assume(rst);

    wire o_read, o_aw_valid, o_w_valid, o_w_last, o_busy;
    wire [`LOCAL-1:0] o_local;
    wire [`ADDRESS-1:0] o_aw_address;
    wire [7:0] o_aw_len;
    wire [`BUS-1:0] o_w_strobe;
    stos_accelerator_storer dut(
        .clk, .rst(reset), .i_begin, .i_address, .i_bytes, .i_local, .o_read, .o_local, .i_stop,
        .o_aw_valid, .i_aw_ready, .o_aw_address, .o_aw_len, .o_w_valid, .i_w_ready,
        .o_w_strobe, .o_w_last, .i_b, .o_busy
    );

    // Ranges of up to 1 KiB, which is enough for every place in a burst. A stop stays.
    wire [32:0] last = {1'b0, i_address} + i_bytes;
    reg stopping;
    always @(posedge clk) stopping <= !reset && i_stop && o_busy;
    always @* begin
        if (i_begin) assume(!o_busy && i_bytes != 0 && i_bytes <= 1024 && last <= 33'h100000000);
        if (rst) assume(!i_begin && !i_b);
        if (stopping) assume(i_stop);
    end

    // A memory answers only bursts that it has had, address and data.
    wire aw = o_aw_valid && i_aw_ready, w = o_w_valid && i_w_ready;
    reg [15:0] written, owed;
    always @(posedge clk) written <= reset ? 0 : written + (w && o_w_last) - i_b;
    always @(posedge clk) owed <= reset ? 0 : owed + aw - i_b;
    always @* if (i_b) assume(written != 0 && owed != 0);

    // A burst whose address was shown, now or before, and whose last beat was not taken; where the
    // next one begins.
    reg stuck_aw, before;
    wire shows = o_aw_valid && !stuck_aw, begun = before || shows;
    reg [`ADDRESS-BITS-1:0] start;
    always @(posedge clk) begin
        stuck_aw <= !reset && o_aw_valid && !i_aw_ready;
        before <= !reset && begun && !(w && o_w_last);
        if (shows) start <= {start[`ADDRESS-BITS-1:PLACE] + 1'b1, {PLACE{1'b0}}};  // of 256 bytes
        if (i_begin) start <= i_address >> BITS;
        if (reset) start <= 0;
    end

    // The memory goes on unless a beat waits for the bus.
    reg [1:0] valid;
    wire moves = !valid[1] || (begun && i_w_ready);

    // The next beat of the range: its place in a burst, bytes from its first one to the end, bytes
    // of it in front of the range, address in the memory that is read. It opens a burst, and is the
    // last one of it.
    reg [PLACE-1:0] place;
    reg [32:0] rest;
    reg [BITS-1:0] skip;
    reg [`LOCAL-1:0] from;
    reg opens;
    wire there = rest != 0;
    wire closes = &place || rest <= `BUS;
    wire [PLACE:0] to_end = (1 << PLACE) - place;
    wire [32:0] beats = (rest + `BUS - 1) >> BITS;
    wire [7:0] length = (beats < to_end ? beats : to_end) - 1;  // of the burst, from here on
    wire halts = i_stop && opens;
    wire reads = moves && there && !halts;
    reg [`BUS-1:0] strobe;
    integer n;
    always @* for (n = 0; n < `BUS; n = n + 1) strobe[n] = n >= skip && n < rest;
    always @(posedge clk) begin
        if (reads) begin
            place <= place + 1;
            rest <= rest > `BUS ? rest - `BUS : 0;
            skip <= 0;
            from <= from + `BUS;
            opens <= closes;
        end
        if (halts) rest <= 0;
        if (i_begin) begin
            place <= i_address >> BITS;
            rest <= i_bytes + i_address[BITS-1:0];
            skip <= i_address;
            from <= i_local - i_address[BITS-1:0];
            opens <= 1;
        end
        if (reset) {place, rest, skip, from, opens} <= 1;
    end

    // What is in the two steps of the memory.
    reg [1:0] closed;
    reg [7:0] long[0:1];
    reg [`BUS-1:0] bytes[0:1];
    always @(posedge clk) begin
        if (moves) begin
            valid <= {valid[0], reads};
            closed <= {closed[0], closes};
            long[1] <= long[0];
            long[0] <= length;
            bytes[1] <= bytes[0];
            bytes[0] <= strobe;
        end
        if (reset) valid <= 0;
    end

    reg stuck_w;
    reg [`ADDRESS+7:0] address;
    reg [`BUS:0] flags;
    always @(posedge clk) begin
        stuck_w <= !reset && o_w_valid && !i_w_ready;
        address <= {o_aw_address, o_aw_len};
        flags <= {o_w_strobe, o_w_last};
    end

    always @* if (!first && !rst) begin
        if (stuck_aw) begin
            stable_aw: assert(o_aw_valid && {o_aw_address, o_aw_len} == address);
        end
        if (stuck_w) begin
            stable_w: assert(o_w_valid && {o_w_strobe, o_w_last} == flags);
        end
        read_moves: assert(o_read == (moves && (there || valid != 0)));
        if (reads) begin
            read_from: assert(o_local == from);  // none left out, none twice
        end
        // With the first beat of a burst, or once the address before is taken.
        burst_shown: assert(shows == (valid[1] && !before && !stuck_aw));
        if (shows) begin
            address_next: assert(o_aw_address == start << BITS);
            length_all: assert(o_aw_len == long[1]);
        end
        together_beat: assert(o_w_valid == (valid[1] && begun));  // two steps after it was read
        if (o_w_valid) begin
            beat_strobe: assert(o_w_strobe == bytes[1]);
            beat_last: assert(o_w_last == closed[1]);
        end
        // Until all is read, written and answered.
        busy_all: assert(o_busy == (there || valid != 0 || o_aw_valid || owed != 0));
    end
endmodule
