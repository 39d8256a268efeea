// The ECP5's block memory as it is used here: synchronous, no chip select, no reset, both registers alike. From
// Lattice's ECP5 memory usage guide (FPGA-TN-02204). A port that writes keeps its word (WRITEMODE NORMAL); a word
// that one port writes and the other reads at once is the old one here, which the part does not promise.
module DP16KD (
    input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14,
        DIA15, DIA16, DIA17, ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12,
        ADA13, CEA, OCEA, CLKA, WEA, RSTA, CSA0, CSA1, CSA2, DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7,
        DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16, DIB17, ADB0, ADB1, ADB2, ADB3, ADB4,
        ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13, CEB, OCEB, CLKB, WEB, RSTB, CSB0, CSB1,
            CSB2,
    output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14,
        DOA15, DOA16, DOA17, DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12,
        DOB13, DOB14, DOB15, DOB16, DOB17
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "AUTO";
    parameter [319:0] INITVAL_00 = 320'd0;
    parameter [319:0] INITVAL_01 = 320'd0;
    parameter [319:0] INITVAL_02 = 320'd0;
    parameter [319:0] INITVAL_03 = 320'd0;
    parameter [319:0] INITVAL_04 = 320'd0;
    parameter [319:0] INITVAL_05 = 320'd0;
    parameter [319:0] INITVAL_06 = 320'd0;
    parameter [319:0] INITVAL_07 = 320'd0;
    parameter [319:0] INITVAL_08 = 320'd0;
    parameter [319:0] INITVAL_09 = 320'd0;
    parameter [319:0] INITVAL_0A = 320'd0;
    parameter [319:0] INITVAL_0B = 320'd0;
    parameter [319:0] INITVAL_0C = 320'd0;
    parameter [319:0] INITVAL_0D = 320'd0;
    parameter [319:0] INITVAL_0E = 320'd0;
    parameter [319:0] INITVAL_0F = 320'd0;
    parameter [319:0] INITVAL_10 = 320'd0;
    parameter [319:0] INITVAL_11 = 320'd0;
    parameter [319:0] INITVAL_12 = 320'd0;
    parameter [319:0] INITVAL_13 = 320'd0;
    parameter [319:0] INITVAL_14 = 320'd0;
    parameter [319:0] INITVAL_15 = 320'd0;
    parameter [319:0] INITVAL_16 = 320'd0;
    parameter [319:0] INITVAL_17 = 320'd0;
    parameter [319:0] INITVAL_18 = 320'd0;
    parameter [319:0] INITVAL_19 = 320'd0;
    parameter [319:0] INITVAL_1A = 320'd0;
    parameter [319:0] INITVAL_1B = 320'd0;
    parameter [319:0] INITVAL_1C = 320'd0;
    parameter [319:0] INITVAL_1D = 320'd0;
    parameter [319:0] INITVAL_1E = 320'd0;
    parameter [319:0] INITVAL_1F = 320'd0;
    parameter [319:0] INITVAL_20 = 320'd0;
    parameter [319:0] INITVAL_21 = 320'd0;
    parameter [319:0] INITVAL_22 = 320'd0;
    parameter [319:0] INITVAL_23 = 320'd0;
    parameter [319:0] INITVAL_24 = 320'd0;
    parameter [319:0] INITVAL_25 = 320'd0;
    parameter [319:0] INITVAL_26 = 320'd0;
    parameter [319:0] INITVAL_27 = 320'd0;
    parameter [319:0] INITVAL_28 = 320'd0;
    parameter [319:0] INITVAL_29 = 320'd0;
    parameter [319:0] INITVAL_2A = 320'd0;
    parameter [319:0] INITVAL_2B = 320'd0;
    parameter [319:0] INITVAL_2C = 320'd0;
    parameter [319:0] INITVAL_2D = 320'd0;
    parameter [319:0] INITVAL_2E = 320'd0;
    parameter [319:0] INITVAL_2F = 320'd0;
    parameter [319:0] INITVAL_30 = 320'd0;
    parameter [319:0] INITVAL_31 = 320'd0;
    parameter [319:0] INITVAL_32 = 320'd0;
    parameter [319:0] INITVAL_33 = 320'd0;
    parameter [319:0] INITVAL_34 = 320'd0;
    parameter [319:0] INITVAL_35 = 320'd0;
    parameter [319:0] INITVAL_36 = 320'd0;
    parameter [319:0] INITVAL_37 = 320'd0;
    parameter [319:0] INITVAL_38 = 320'd0;
    parameter [319:0] INITVAL_39 = 320'd0;
    parameter [319:0] INITVAL_3A = 320'd0;
    parameter [319:0] INITVAL_3B = 320'd0;
    parameter [319:0] INITVAL_3C = 320'd0;
    parameter [319:0] INITVAL_3D = 320'd0;
    parameter [319:0] INITVAL_3E = 320'd0;
    parameter [319:0] INITVAL_3F = 320'd0;
    localparam [20479:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };
    localparam WIDE = DATA_WIDTH_A == 36;

    // Bytes of nine bits. A port narrower than that uses eight of them.
    reg [8:0] bytes [0:2047];
    reg [20479:0] image;
    integer place;
    initial begin
        image = INIT;
        for (place = 0; place < 2048; place = place + 1)
            bytes[place] = image[(place / 2) * 20 + (place % 2) * 9 +: 9];
    end

    wire [13:0] a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] d = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
        DIB4, DIB3, DIB2, DIB1, DIB0,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
            DIA2, DIA1, DIA0};
    reg [17:0] latch_a, latch_b, register_a, register_b;

    function [17:0] cut;  // the bits of a port of this width in the two bytes at its address
        input integer width;
        input [3:0] address;
        input [17:0] pair;
        reg [8:0] one;
        begin
            one = address[3] ? pair[17:9] : pair[8:0];
            cut = width == 1 ? (one >> address[2:0]) & 1
                : width == 2 ? (one >> {address[2:1], 1'b0}) & 3
                : width == 4 ? (one >> {address[2], 2'b00}) & 15
                : width == 9 ? {9'd0, one}
                : pair;
        end
    endfunction

    function [17:0] put;  // the two bytes with those bits replaced
        input integer width;
        input [3:0] address;
        input [17:0] pair;
        input [17:0] bits;
        reg [8:0] one;
        begin
            one = address[3] ? pair[17:9] : pair[8:0];
            one = width == 1 ? (one & ~(9'd1 << address[2:0])) | ((bits & 18'd1) << address[2:0])
                : width == 2 ? (one & ~(9'd3 << {address[2:1], 1'b0})) | ((bits & 18'd3) << {address[2:1],
                    1'b0})
                : width == 4 ? (one & ~(9'd15 << {address[2], 2'b00})) | ((bits & 18'd15) << {address[2],
                    2'b00})
                : bits[8:0];
            put = width == 18 ? {address[1] ? bits[17:9] : pair[17:9], address[0] ? bits[8:0] : pair[8:0]}
                : address[3] ? {one, pair[8:0]}
                : {pair[17:9], one};
        end
    endfunction

    wire [17:0] pair_a = {bytes[{a[13:4], 1'b1}], bytes[{a[13:4], 1'b0}]};
    wire [17:0] pair_b = {bytes[{b[13:4], 1'b1}], bytes[{b[13:4], 1'b0}]};

    always @(posedge CLKA) begin
        if (WIDE) begin
            if (CEA & WEA) begin
                if (a[0]) bytes[{a[13:5], 2'd0}] <= d[8:0];
                if (a[1]) bytes[{a[13:5], 2'd1}] <= d[17:9];
                if (a[2]) bytes[{a[13:5], 2'd2}] <= d[26:18];
                if (a[3]) bytes[{a[13:5], 2'd3}] <= d[35:27];
            end
            if (CEB) begin
                latch_a <= {bytes[{b[13:5], 2'd1}], bytes[{b[13:5], 2'd0}]};
                latch_b <= {bytes[{b[13:5], 2'd3}], bytes[{b[13:5], 2'd2}]};
            end
        end else begin
            if (CEA & WEA) begin
                {bytes[{a[13:4], 1'b1}], bytes[{a[13:4], 1'b0}]} <= put(DATA_WIDTH_A, a[3:0], pair_a, d[17:0]);
            end
            if (CEB & WEB) begin
                {bytes[{b[13:4], 1'b1}], bytes[{b[13:4], 1'b0}]} <= put(DATA_WIDTH_B, b[3:0], pair_b, d[35:18]);
            end
            if (CEA & ~WEA) latch_a <= cut(DATA_WIDTH_A, a[3:0], pair_a);
            if (CEB & ~WEB) latch_b <= cut(DATA_WIDTH_B, b[3:0], pair_b);
        end
        if (OCEA) register_a <= latch_a;
        if (OCEB) register_b <= latch_b;
    end

    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0} = REGMODE_A == "OUTREG" ? register_a : latch_a;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0} = REGMODE_B == "OUTREG" ? register_b : latch_b;
endmodule
