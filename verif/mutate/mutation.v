// How the mutants of a module are built in. Bits 31:14 of `mutant` choose a place of the netlist,
// bits 13:10 what happens there, and bits 9:0 to which bit.

// What happens to a bit, worked out once for all places of a module: bits are kept or not, and
// then inverted or not; the latter may depend on the neighbouring bit.
module mutation_masks #(
  parameter WIDTH = 1
) (
  input [31:0] mutant,
  output [WIDTH-1:0] keep,
  output [WIDTH-1:0] flip,
  output [WIDTH-1:0] where,
  output unless
);
  wire [3:0] mode = mutant[13:10];
  wire [WIDTH-1:0] one = 1;
  wire [WIDTH-1:0] place = one << mutant[9:0];
  assign keep = mode == 2 || mode == 3 ? ~place : {WIDTH{1'b1}};
  assign flip = mode == 2 ? {WIDTH{1'b0}} : place;
  assign where = mode == 4 || mode == 5 ? one << (mutant[9:0] ^ 10'd1) : {WIDTH{1'b0}};
  assign unless = mode != 4;
endmodule

// A place.
module mutation #(
  parameter SITE = 0,
  parameter WIDTH = 1
) (
  input [31:0] mutant,
  input [WIDTH-1:0] keep,
  input [WIDTH-1:0] flip,
  input [WIDTH-1:0] where,
  input unless,
  input [WIDTH-1:0] i,
  output [WIDTH-1:0] o
);
  wire [WIDTH-1:0] flipped = flip & {WIDTH{(|(i & where)) ^ unless}};
  assign o = mutant[31:14] == SITE ? (i & keep) ^ flipped : i;
endmodule

// A place with more to go wrong: a number off by one, or another cell.
module mutation_word #(
  parameter SITE = 0,
  parameter WIDTH = 1
) (
  input [31:0] mutant,
  input [WIDTH-1:0] i,
  input [WIDTH-1:0] other,
  output [WIDTH-1:0] o
);
  wire [WIDTH-1:0] one = 1;
  wire [3:0] mode = mutant[31:14] == SITE ? mutant[13:10] : 4'd0;
  assign o = mode == 6 ? i + one : mode == 7 ? i - one : mode == 8 ? other : i;
endmodule
