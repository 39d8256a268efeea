import cocotb
from cocotb.triggers import RisingEdge

from abc_hw.sim.bench import CodeSource, Scoreboard, ScoreSink, burst_stalls, random_stalls, read, start


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(pauses=[False, True])
async def scores_are_golden(dut, pauses):
    design = read("accelerator.json")
    source = CodeSource(dut, design, prefix="core_", stalls=random_stalls(0.3, seed=1) if pauses else ())
    sink = ScoreSink(dut, design, prefix="core_", stalls=burst_stalls(5, 40) if pauses else ())
    board = Scoreboard(design)
    images = board.random_images(4, seed=1)
    await start(dut, design, prefix="core_")
    cocotb.start_soon(source.send(images))
    board.check(images, await sink.receive(len(images)))
    await RisingEdge(dut.clk)
    assert dut.images_done.value == len(images)
