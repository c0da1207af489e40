// What LiteDRAM's text uses of an ECP5, for simulation. Their presets are asynchronous there.

module FD1S3BX (input wire D, input wire CK, input wire PD, output reg Q);
  always @(posedge CK) Q <= D | PD;
endmodule

module IFS1P3BX (input wire D, input wire SP, input wire SCLK, input wire PD, output reg Q);
  always @(posedge SCLK) if (PD) Q <= 1'b1; else if (SP) Q <= D;
endmodule

module OFS1P3BX (input wire D, input wire SP, input wire SCLK, input wire PD, output reg Q);
  always @(posedge SCLK) if (PD) Q <= 1'b1; else if (SP) Q <= D;
endmodule
