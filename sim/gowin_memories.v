// Block memories of Gowin's LittleBee parts as Yosys uses them: synchronous, one clock for both ports, block select 0.
// From Gowin's BSRAM user guide (UG285). A memory holds 2,048 bytes of eight bits (X9: nine); an address counts bits
// of a byte, so that its lowest three are 0 where a port is a byte wide, and say which bytes are written where it is
// wider. What is read and written at once through two ports is the old word here, which the part does not promise.
module gowin_bsram #(
    parameter BYTE = 8, parameter WIDTH_A = 8, parameter WIDTH_B = 8, parameter PIPELINE_A = 0, parameter PIPELINE_B = 0,
    parameter WRITE_A = 0, parameter WRITE_B = 0, parameter [2048*BYTE-1:0] INIT = 0
) (
    input clk,
    input ce_a, input oce_a, input we_a, input reset_a, input [13:0] ad_a, input [4*BYTE-1:0] di_a,
    output [4*BYTE-1:0] do_a,
    input ce_b, input oce_b, input we_b, input reset_b, input [13:0] ad_b, input [4*BYTE-1:0] di_b,
    output [4*BYTE-1:0] do_b
);
    // Bytes, of which a port takes one, two or four, or some bits of one.
    reg [BYTE-1:0] bytes [0:2047];
    integer place;
    initial for (place = 0; place < 2048; place = place + 1) bytes[place] = INIT[place * BYTE +: BYTE];

    function [4*BYTE-1:0] cut;  // what a port of this width reads of the four bytes around its address
        input integer width;
        input [4:0] address;
        input [4*BYTE-1:0] four;
        begin
            cut = four >> (BYTE * address[4:3]);
            if (width < BYTE) cut = (cut >> address[2:0]) & ((1 << width) - 1);
            else if (width == BYTE) cut = cut & {BYTE{1'b1}};
            else if (width == 2 * BYTE) cut = address[4] ? four >> (2 * BYTE) : four & {(2 * BYTE){1'b1}};
            else cut = four;
        end
    endfunction

    function [4*BYTE-1:0] put;  // the four bytes with what such a port writes
        input integer width;
        input [4:0] address;
        input [4*BYTE-1:0] four;
        input [4*BYTE-1:0] data;
        reg [4*BYTE-1:0] mask;
        integer index;
        begin
            mask = 0;
            if (width <= BYTE) begin
                mask = ((1 << width) - 1) << (BYTE * address[4:3] + (width < BYTE ? address[2:0] : 0));
                put = (four & ~mask) | ((data << (BYTE * address[4:3] + (width < BYTE ? address[2:0] : 0))) & mask);
            end else begin
                for (index = 0; index < 4; index = index + 1)
                    if (width == 4 * BYTE ? address[index] : index / 2 == address[4] && address[index % 2])
                        mask[index * BYTE +: BYTE] = {BYTE{1'b1}};
                put = (four & ~mask) | ((width == 2 * BYTE && address[4] ? data << (2 * BYTE) : data) & mask);
            end
        end
    endfunction

    wire [4*BYTE-1:0] four_a = {bytes[{ad_a[13:5], 2'd3}], bytes[{ad_a[13:5], 2'd2}], bytes[{ad_a[13:5], 2'd1}],
        bytes[{ad_a[13:5], 2'd0}]};
    wire [4*BYTE-1:0] four_b = {bytes[{ad_b[13:5], 2'd3}], bytes[{ad_b[13:5], 2'd2}], bytes[{ad_b[13:5], 2'd1}],
        bytes[{ad_b[13:5], 2'd0}]};
    wire [4*BYTE-1:0] new_a = put(WIDTH_A, ad_a[4:0], four_a, di_a);
    wire [4*BYTE-1:0] new_b = put(WIDTH_B, ad_b[4:0], four_b, di_b);
    reg [4*BYTE-1:0] latch_a, latch_b, register_a, register_b;
    initial begin latch_a = 0; latch_b = 0; register_a = 0; register_b = 0; end

    // Write modes: 0 keeps the word that was read before, 1 shows the one that is written, 2 the one before it.
    always @(posedge clk) begin
        if (ce_a & we_a)
            {bytes[{ad_a[13:5], 2'd3}], bytes[{ad_a[13:5], 2'd2}], bytes[{ad_a[13:5], 2'd1}],
                bytes[{ad_a[13:5], 2'd0}]} <= new_a;
        if (ce_b & we_b)
            {bytes[{ad_b[13:5], 2'd3}], bytes[{ad_b[13:5], 2'd2}], bytes[{ad_b[13:5], 2'd1}],
                bytes[{ad_b[13:5], 2'd0}]} <= new_b;
        if (reset_a) latch_a <= 0;
        else if (ce_a && (!we_a || WRITE_A != 0)) latch_a <= cut(WIDTH_A, ad_a[4:0], WRITE_A == 1 && we_a ? new_a : four_a);
        if (reset_b) latch_b <= 0;
        else if (ce_b && (!we_b || WRITE_B != 0)) latch_b <= cut(WIDTH_B, ad_b[4:0], WRITE_B == 1 && we_b ? new_b : four_b);
        if (reset_a) register_a <= 0;
        else if (oce_a) register_a <= latch_a;
        if (reset_b) register_b <= 0;
        else if (oce_b) register_b <= latch_b;
    end
    assign do_a = PIPELINE_A != 0 ? register_a : latch_a;
    assign do_b = PIPELINE_B != 0 ? register_b : latch_b;
endmodule

// Contents of a primitive, as parameters of that range, and all of them as one word.
`define CONTENTS(RANGE, ZERO) \
    parameter RANGE INIT_RAM_00 = ZERO; \
    parameter RANGE INIT_RAM_01 = ZERO; \
    parameter RANGE INIT_RAM_02 = ZERO; \
    parameter RANGE INIT_RAM_03 = ZERO; \
    parameter RANGE INIT_RAM_04 = ZERO; \
    parameter RANGE INIT_RAM_05 = ZERO; \
    parameter RANGE INIT_RAM_06 = ZERO; \
    parameter RANGE INIT_RAM_07 = ZERO; \
    parameter RANGE INIT_RAM_08 = ZERO; \
    parameter RANGE INIT_RAM_09 = ZERO; \
    parameter RANGE INIT_RAM_0A = ZERO; \
    parameter RANGE INIT_RAM_0B = ZERO; \
    parameter RANGE INIT_RAM_0C = ZERO; \
    parameter RANGE INIT_RAM_0D = ZERO; \
    parameter RANGE INIT_RAM_0E = ZERO; \
    parameter RANGE INIT_RAM_0F = ZERO; \
    parameter RANGE INIT_RAM_10 = ZERO; \
    parameter RANGE INIT_RAM_11 = ZERO; \
    parameter RANGE INIT_RAM_12 = ZERO; \
    parameter RANGE INIT_RAM_13 = ZERO; \
    parameter RANGE INIT_RAM_14 = ZERO; \
    parameter RANGE INIT_RAM_15 = ZERO; \
    parameter RANGE INIT_RAM_16 = ZERO; \
    parameter RANGE INIT_RAM_17 = ZERO; \
    parameter RANGE INIT_RAM_18 = ZERO; \
    parameter RANGE INIT_RAM_19 = ZERO; \
    parameter RANGE INIT_RAM_1A = ZERO; \
    parameter RANGE INIT_RAM_1B = ZERO; \
    parameter RANGE INIT_RAM_1C = ZERO; \
    parameter RANGE INIT_RAM_1D = ZERO; \
    parameter RANGE INIT_RAM_1E = ZERO; \
    parameter RANGE INIT_RAM_1F = ZERO; \
    parameter RANGE INIT_RAM_20 = ZERO; \
    parameter RANGE INIT_RAM_21 = ZERO; \
    parameter RANGE INIT_RAM_22 = ZERO; \
    parameter RANGE INIT_RAM_23 = ZERO; \
    parameter RANGE INIT_RAM_24 = ZERO; \
    parameter RANGE INIT_RAM_25 = ZERO; \
    parameter RANGE INIT_RAM_26 = ZERO; \
    parameter RANGE INIT_RAM_27 = ZERO; \
    parameter RANGE INIT_RAM_28 = ZERO; \
    parameter RANGE INIT_RAM_29 = ZERO; \
    parameter RANGE INIT_RAM_2A = ZERO; \
    parameter RANGE INIT_RAM_2B = ZERO; \
    parameter RANGE INIT_RAM_2C = ZERO; \
    parameter RANGE INIT_RAM_2D = ZERO; \
    parameter RANGE INIT_RAM_2E = ZERO; \
    parameter RANGE INIT_RAM_2F = ZERO; \
    parameter RANGE INIT_RAM_30 = ZERO; \
    parameter RANGE INIT_RAM_31 = ZERO; \
    parameter RANGE INIT_RAM_32 = ZERO; \
    parameter RANGE INIT_RAM_33 = ZERO; \
    parameter RANGE INIT_RAM_34 = ZERO; \
    parameter RANGE INIT_RAM_35 = ZERO; \
    parameter RANGE INIT_RAM_36 = ZERO; \
    parameter RANGE INIT_RAM_37 = ZERO; \
    parameter RANGE INIT_RAM_38 = ZERO; \
    parameter RANGE INIT_RAM_39 = ZERO; \
    parameter RANGE INIT_RAM_3A = ZERO; \
    parameter RANGE INIT_RAM_3B = ZERO; \
    parameter RANGE INIT_RAM_3C = ZERO; \
    parameter RANGE INIT_RAM_3D = ZERO; \
    parameter RANGE INIT_RAM_3E = ZERO; \
    parameter RANGE INIT_RAM_3F = ZERO;
`define ALL_CONTENTS { \
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38, \
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30, \
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, \
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, \
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, \
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, \
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08, \
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00 \
    }

module SP (output [31:0] DO, input [31:0] DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET);
    parameter READ_MODE = 1'b0;
    parameter WRITE_MODE = 2'b00;
    parameter BIT_WIDTH = 32;
    parameter BLK_SEL = 3'b000;
    parameter RESET_MODE = "SYNC";
    `CONTENTS([255:0], 256'd0)
    gowin_bsram #(.BYTE(8), .WIDTH_A(BIT_WIDTH), .PIPELINE_A(READ_MODE), .WRITE_A(WRITE_MODE), .INIT(`ALL_CONTENTS)) ram (
        .clk(CLK), .ce_a(CE), .oce_a(OCE), .we_a(WRE), .reset_a(RESET), .ad_a(AD), .di_a(DI), .do_a(DO),
        .ce_b(1'b0), .oce_b(1'b0), .we_b(1'b0), .reset_b(1'b0), .ad_b(14'd0), .di_b(32'd0), .do_b()
    );
endmodule

module SPX9 (output [35:0] DO, input [35:0] DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET);
    parameter READ_MODE = 1'b0;
    parameter WRITE_MODE = 2'b00;
    parameter BIT_WIDTH = 36;
    parameter BLK_SEL = 3'b000;
    parameter RESET_MODE = "SYNC";
    `CONTENTS([287:0], 288'd0)
    gowin_bsram #(.BYTE(9), .WIDTH_A(BIT_WIDTH), .PIPELINE_A(READ_MODE), .WRITE_A(WRITE_MODE), .INIT(`ALL_CONTENTS)) ram (
        .clk(CLK), .ce_a(CE), .oce_a(OCE), .we_a(WRE), .reset_a(RESET), .ad_a(AD), .di_a(DI), .do_a(DO),
        .ce_b(1'b0), .oce_b(1'b0), .we_b(1'b0), .reset_b(1'b0), .ad_b(14'd0), .di_b(36'd0), .do_b()
    );
endmodule

module SDPB (
    output [31:0] DO, input [31:0] DI, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CLKB, CEA, CEB, OCE, RESETA, RESETB
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 32;
    parameter BIT_WIDTH_1 = 32;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `CONTENTS([255:0], 256'd0)
    gowin_bsram #(.BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .PIPELINE_B(READ_MODE), .INIT(`ALL_CONTENTS)) ram (
        .clk(CLKB), .ce_a(CEA), .oce_a(1'b0), .we_a(1'b1), .reset_a(1'b0), .ad_a(ADA), .di_a(DI), .do_a(),
        .ce_b(CEB), .oce_b(OCE), .we_b(1'b0), .reset_b(RESETB), .ad_b(ADB), .di_b(32'd0), .do_b(DO)
    );
endmodule

module SDPX9B (
    output [35:0] DO, input [35:0] DI, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CLKB, CEA, CEB, OCE, RESETA, RESETB
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 36;
    parameter BIT_WIDTH_1 = 36;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `CONTENTS([287:0], 288'd0)
    gowin_bsram #(.BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .PIPELINE_B(READ_MODE), .INIT(`ALL_CONTENTS)) ram (
        .clk(CLKB), .ce_a(CEA), .oce_a(1'b0), .we_a(1'b1), .reset_a(1'b0), .ad_a(ADA), .di_a(DI), .do_a(),
        .ce_b(CEB), .oce_b(OCE), .we_b(1'b0), .reset_b(RESETB), .ad_b(ADB), .di_b(36'd0), .do_b(DO)
    );
endmodule

module DPB (
    output [15:0] DOA, DOB, input [15:0] DIA, DIB, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input WREA, WREB, CLKA, CLKB, CEA, CEB, OCEA, OCEB, RESETA, RESETB
);
    parameter READ_MODE0 = 1'b0;
    parameter READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00;
    parameter WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 16;
    parameter BIT_WIDTH_1 = 16;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `CONTENTS([255:0], 256'd0)
    wire [15:0] unused_a, unused_b;
    gowin_bsram #(
        .BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .PIPELINE_A(READ_MODE0), .PIPELINE_B(READ_MODE1),
        .WRITE_A(WRITE_MODE0), .WRITE_B(WRITE_MODE1), .INIT(`ALL_CONTENTS)
    ) ram (
        .clk(CLKA),
        .ce_a(CEA), .oce_a(OCEA), .we_a(WREA), .reset_a(RESETA), .ad_a(ADA), .di_a({16'd0, DIA}), .do_a({unused_a, DOA}),
        .ce_b(CEB), .oce_b(OCEB), .we_b(WREB), .reset_b(RESETB), .ad_b(ADB), .di_b({16'd0, DIB}), .do_b({unused_b, DOB})
    );
endmodule

module DPX9B (
    output [17:0] DOA, DOB, input [17:0] DIA, DIB, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input WREA, WREB, CLKA, CLKB, CEA, CEB, OCEA, OCEB, RESETA, RESETB
);
    parameter READ_MODE0 = 1'b0;
    parameter READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00;
    parameter WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 18;
    parameter BIT_WIDTH_1 = 18;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `CONTENTS([287:0], 288'd0)
    wire [17:0] unused_a, unused_b;
    gowin_bsram #(
        .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .PIPELINE_A(READ_MODE0), .PIPELINE_B(READ_MODE1),
        .WRITE_A(WRITE_MODE0), .WRITE_B(WRITE_MODE1), .INIT(`ALL_CONTENTS)
    ) ram (
        .clk(CLKA),
        .ce_a(CEA), .oce_a(OCEA), .we_a(WREA), .reset_a(RESETA), .ad_a(ADA), .di_a({18'd0, DIA}), .do_a({unused_a, DOA}),
        .ce_b(CEB), .oce_b(OCEB), .we_b(WREB), .reset_b(RESETB), .ad_b(ADB), .di_b({18'd0, DIB}), .do_b({unused_b, DOB})
    );
endmodule

`undef CONTENTS
`undef ALL_CONTENTS
