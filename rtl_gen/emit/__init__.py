"""From Amaranth to Verilog that people and tools accept."""
