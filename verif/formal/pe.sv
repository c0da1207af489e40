// A PE equals its equation (docstring of hw/array/pe.py), whatever its inputs do and whatever it held at
// first. The emitted PE has no reset, so the reference says of every register whether it is known
// yet; what is known must be equal.
module check_pe(
    input clk, i_en, i_move, i_release, i_broadcast_en,
    input [`ACT_WIDTH-1:0] i_a,
    input [`WEIGHT_WIDTH+1:0] i_operand, i_broadcast,
    input [`ACC_WIDTH-1:0] i_result
);
    wire [`ACT_WIDTH-1:0] o_a;
    wire [`WEIGHT_WIDTH+1:0] o_operand;
    wire [`ACC_WIDTH-1:0] o_result;
    stos_core_pe dut(
        .clk, .i_en, .i_move, .i_release, .i_a, .i_operand, .i_result,
`ifdef ST_OS
        .i_broadcast, .i_broadcast_en,
`endif
        .o_a, .o_operand, .o_result
    );

    // What the controller keeps (controller.sv): move implies en. The line is what it is: a core
    // holds it at zero unless it is enabled, but here nothing depends on that.
    always @* begin
        assume(i_en || !i_move);

    end

`ifdef ST_OS
    wire [`WEIGHT_WIDTH+1:0] source = (i_broadcast_en ? 0 : i_operand) | i_broadcast;
`else
    wire [`WEIGHT_WIDTH+1:0] source = i_operand;
`endif

    // Operand registers.
    reg signed [`ACT_WIDTH-1:0] a;
    reg signed [`WEIGHT_WIDTH-1:0] w;
    reg valid, mark;
    reg a_known = 0, w_known = 0;
    always @(posedge clk) begin
        if (i_move) begin a <= i_a; a_known <= 1; end
        if (i_en) begin {mark, valid, w} <= source; w_known <= 1; end
    end

    // The product and its tags, one step later with two MAC stages.
    wire signed [`ACT_WIDTH+`WEIGHT_WIDTH-1:0] now = a * w;
    reg signed [`ACT_WIDTH+`WEIGHT_WIDTH-1:0] later;
    reg later_valid, later_mark, later_known = 0, later_tags = 0;
    always @(posedge clk) if (i_en) begin
        later <= now; later_known <= a_known && w_known;
        {later_mark, later_valid} <= {mark, valid}; later_tags <= w_known;
    end
`ifdef TWO_STAGES
    wire signed [`ACT_WIDTH+`WEIGHT_WIDTH-1:0] product = later;
    wire product_known = later_known, tags_known = later_tags;
    wire take = later_valid, flag = later_mark;
`else
    wire signed [`ACT_WIDTH+`WEIGHT_WIDTH-1:0] product = now;
    wire product_known = a_known && w_known, tags_known = w_known;
    wire take = valid, flag = mark;
`endif

    // acc <- (start ? 0 : acc) + a * w, and the link of the result chain.
    reg signed [`ACC_WIDTH-1:0] acc, result;
    reg held;
    reg acc_known = 0, result_known = 0, held_known = 0;
`ifdef TWO_ACCUMULATORS
    wire own = take && flag;  // mark: the last product, its sum is a result
    wire signed [`ACC_WIDTH-1:0] sum = acc + product;
    wire sum_known = acc_known && product_known;
    always @(posedge clk) if (i_en) begin
        if (!tags_known) acc_known <= 0;
        else if (flag) begin acc <= 0; acc_known <= 1; end
        else if (take) begin acc <= sum; acc_known <= sum_known; end
    end
    wire arrives = own;
    wire signed [`ACC_WIDTH-1:0] shown = result;
    wire shown_known = result_known;
`else
    wire own = take && flag;  // mark: the first product, the sum starts from zero
    wire signed [`ACC_WIDTH-1:0] sum = (flag ? 0 : result) + product;
    wire sum_known = (flag || result_known) && product_known;
    wire arrives = take;
    wire signed [`ACC_WIDTH-1:0] shown = result;
    wire shown_known = result_known;
`endif
    always @(posedge clk) if (i_en) begin
        if (!tags_known) result_known <= 0;
        else if (arrives) begin result <= sum; result_known <= sum_known; end
        else if (!held_known) result_known <= 0;
        else if (!held) begin result <= i_result; result_known <= 1; end
        if (i_release) begin held <= 0; held_known <= 1; end
        else if (!tags_known) held_known <= 0;
        else if (own) begin held <= 1; held_known <= 1; end
    end

    always @* begin
        if (a_known) pass_a: assert(o_a == a);
        if (w_known) pass_operand: assert(o_operand == {mark, valid, w});
        if (shown_known) result_sum: assert(o_result == shown);
    end
endmodule
