// Writes of the accelerator (docstring of hw/accelerator/storer.py): what is shown stays until it is
// taken.
module check_storer(
    input clk, rst, i_begin, i_stop, i_aw_ready, i_w_ready, i_b,
    input [`ADDRESS-1:0] i_address,
    input [31:0] i_bytes,
    input [8*`BUS-1:0] i_data
);
    wire o_read, o_aw_valid, o_w_valid, o_w_last, o_busy;
    wire [31:0] o_offset;
    wire [`ADDRESS-1:0] o_aw_address;
    wire [7:0] o_aw_len;
    wire [8*`BUS-1:0] o_w_data;
    wire [`BUS-1:0] o_w_strobe;
    stos_accelerator_storer dut(
        .clk, .rst, .i_begin, .i_address, .i_bytes, .o_read, .o_offset, .i_data, .i_stop,
        .o_aw_valid, .i_aw_ready, .o_aw_address, .o_aw_len, .o_w_valid, .i_w_ready, .o_w_data,
        .o_w_strobe, .o_w_last, .i_b, .o_busy
    );

    reg first = 1;
    always @(posedge clk) first <= 0;
    always @* if (first) assume(rst);

    // Ranges of up to 1 KiB, which is enough for every place in a burst.
    wire [32:0] last = {1'b0, i_address} + i_bytes;
    always @* begin
        if (i_begin) assume(!o_busy && i_bytes != 0 && i_bytes <= 1024 && last <= 33'h100000000);
        if (rst) assume(!i_begin && !i_b);
    end

    // A memory answers only bursts that it has had.
    wire aw = o_aw_valid && i_aw_ready, w = o_w_valid && i_w_ready;
    reg [15:0] written;
    always @(posedge clk) written <= rst ? 0 : written + (w && o_w_last) - i_b;
    always @* if (i_b) assume(written != 0);

    reg stuck_aw, stuck_w;
    reg [`ADDRESS+7:0] address;
    reg [9*`BUS:0] beat;
    always @(posedge clk) begin
        stuck_aw <= !rst && o_aw_valid && !i_aw_ready;
        stuck_w <= !rst && o_w_valid && !i_w_ready;
        address <= {o_aw_address, o_aw_len};
        beat <= {o_w_data, o_w_strobe, o_w_last};
    end

    always @* if (!first && !rst) begin
        if (stuck_aw) begin
            stable_aw: assert(o_aw_valid && {o_aw_address, o_aw_len} == address);
        end
        if (stuck_w) begin
            stable_w: assert(o_w_valid && {o_w_data, o_w_strobe, o_w_last} == beat);
        end
    end
endmodule
