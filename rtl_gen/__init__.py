"""rtl_gen: from an integer network to a streaming Verilog accelerator."""
