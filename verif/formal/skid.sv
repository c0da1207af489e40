// The skid buffer keeps every beat once and in order, never withdraws or changes one that waits,
// and its enable is a register (docstring of hw/control/skid.py).
module check_skid(
    input clk, rst, i_valid, i_ready, other_ready,
    input [`WIDTH-1:0] i
);
    wire o_en, o_valid;
    wire [`WIDTH-1:0] o;
    stos_core_skid dut(.clk, .rst, .i, .i_valid, .i_ready, .o_en, .o, .o_valid);

    reg first = 1;
    always @(posedge clk) first <= 0;
    always @* if (first) assume(rst);

    // The beats that the array has sent and the sink has not taken: at most one waits.
    reg waits;
    reg [`WIDTH-1:0] waiting;
    wire sent = o_en && i_valid, taken = o_valid && i_ready;
    always @(posedge clk) begin
        waits <= !rst && (sent || waits) && !taken;
        if (sent) waiting <= i;
    end

    // A beat shown and not taken.
    reg stuck;
    reg [`WIDTH-1:0] shown;
    always @(posedge clk) begin
        stuck <= !rst && o_valid && !i_ready;
        shown <= o;
    end

    always @* if (!first) begin
        order_valid: assert(o_valid == (waits || i_valid));         // none dropped, none made up
        if (waits) order_waiting: assert(o == waiting);               // in order
        else if (i_valid) order_now: assert(o == i);              // without delay
        enable_room: assert(o_en == !waits);                        // none sent where none fits
        if (stuck) begin
            stable_valid: assert(o_valid);                           // not withdrawn
            stable_data: assert(o == shown);                        // stable
        end
    end

    // A second buffer whose sink differs in this cycle only: nothing may differ in this cycle.
    wire en_2, valid_2;
    wire [`WIDTH-1:0] o_2;
    stos_core_skid twin(
        .clk, .rst, .i, .i_valid, .i_ready(other_ready), .o_en(en_2), .o(o_2), .o_valid(valid_2)
    );
    reg same = 1;
    always @(posedge clk) same <= same && i_ready == other_ready;
    always @* if (!first && same) begin
        register_en: assert(en_2 == o_en);
        register_valid: assert(valid_2 == o_valid);
        if (o_valid) register_data: assert(o_2 == o);
    end
endmodule
