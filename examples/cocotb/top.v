// A design of your own around a generated accelerator: here a counter of the images that are done.
module top(
  input  wire        clk, rst,
  input  wire [7:0]  core_i__payload,
  input  wire        core_i__valid,
  output wire        core_i__ready,
  output wire [24:0] core_o__payload,
  output wire        core_o__valid,
  input  wire        core_o__ready,
  output reg  [15:0] images_done
);
  accelerator core(
    .clk(clk), .rst(rst),
    .i__payload(core_i__payload), .i__valid(core_i__valid), .i__ready(core_i__ready),
    .o__payload(core_o__payload), .o__valid(core_o__valid), .o__ready(core_o__ready)
  );

  always @(posedge clk)
    if (rst) images_done <= 0;
    else if (core_o__valid && core_o__ready && core_o__payload[24]) images_done <= images_done + 1;
endmodule
