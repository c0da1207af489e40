// Reads of the accelerator (docstring of hw/accelerator/fetcher.py): bursts are asked for in order,
// each where there is room for all of it, and stay until they are taken.
module check_fetcher(
    input clk, rst, i_begin, i_stop, i_ready, i_beat,
    input [`ADDRESS-1:0] i_address,
    input [31:0] i_bytes,
    input [$clog2(`ROOM + 1)-1:0] i_room
);
    reg first = 1;
    always @(posedge clk) first <= 0;
    wire reset = rst || first;  // as the first cycle has it
    always @* if (first) assume(rst);

    wire o_valid, o_busy;
    wire [`ADDRESS-1:0] o_address;
    wire [7:0] o_len;
    wire [$clog2(`ROOM + 1)-1:0] o_waiting;
    stos_accelerator_weights_fetcher dut(
        .clk, .rst(reset), .i_begin, .i_address, .i_bytes, .i_room, .i_stop, .o_valid, .i_ready,
        .o_address, .o_len, .i_beat, .o_waiting, .o_busy
    );

    // What is begun is at least a byte, at most 2 KiB, and lies in the address space; one range
    // comes after the other.
    wire [32:0] last = {1'b0, i_address} + i_bytes;
    always @* begin
        if (i_begin) assume(!o_busy && i_bytes != 0 && i_bytes <= 2048 && last <= 33'h100000000);
        if (rst) assume(!i_begin && !i_beat);
    end

    // Beats that were asked for, but have not come; a memory sends no others.
    reg [$clog2(`ROOM + 1)-1:0] pending;
    wire asked = o_valid && i_ready;
    wire [8:0] length = (o_len + 9'd1) & (2 * 256 / `BUS - 1);
    always @(posedge clk) pending <= reset ? 0 : pending + (asked ? length : 0) - i_beat;
    always @* if (i_beat) assume(pending != 0);

    // Beats of the range, and where the next one to be asked for lies.
    localparam BITS = $clog2(`BUS);
    reg [31:0] left;
    reg [`ADDRESS-BITS-1:0] next;  // in beats
    wire [32:0] beats = ({1'b0, i_bytes} + i_address[BITS-1:0] + `BUS - 1) >> BITS;
    always @(posedge clk) begin
        if (i_stop && !o_valid) left <= 0;
        if (asked) begin
            left <= left - length;
            next <= next + length;
        end
        if (i_begin) begin
            left <= beats;
            next <= i_address >> BITS;
        end
        if (reset) {left, next} <= 0;
    end

    // The cycle before.
    reg stuck, was_valid, was_stop;
    reg [`ADDRESS-1:0] address;
    reg [7:0] len;
    reg [$clog2(`ROOM + 1)-1:0] room;
    always @(posedge clk) begin
        stuck <= !reset && o_valid && !i_ready;
        was_valid <= !reset && o_valid;
        was_stop <= i_stop;
        {address, len, room} <= {o_address, o_len, i_room};
    end

    always @* if (!first && !rst) begin
        if (stuck) begin
            stable_valid: assert(o_valid);
            stable_burst: assert({o_address, o_len} == {address, len});
        end
        if (o_valid) begin
            burst_order: assert(o_address == next << BITS);  // none left out, none twice
            burst_rest: assert(length <= left);                             // not beyond the end
            burst_whole: assert((o_address & 255) + length * `BUS <= 256);  // within its 256 bytes
        end
        if (o_valid && !was_valid) begin
            room_all: assert(length <= room);                               // all its beats fit
            room_outstanding: assert(o_waiting <= 7 * (256 / `BUS));        // eight bursts at most
            stop_none: assert(!was_stop);
        end
        count_waiting: assert(o_waiting == pending);
        count_busy: assert(!(pending != 0 || o_valid) || o_busy);
    end
endmodule
