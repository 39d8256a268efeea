// Runs the design "board" between a pseudo-terminal and its serial line.
// Arguments: file descriptor of the terminal, clock cycles per bit, cycles without traffic after which the clock
// stops until bytes come. Ends when standard input does.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <vector>

#include "Vboard.h"
#include "verilated.h"

namespace {

// Bytes to the design's rx pin.
struct LineDriver {
    int divisor;
    std::deque<uint8_t> bytes;
    uint32_t bits = 0;  // start, data and stop bit, lowest first, then a 1
    int timer = 0;

    bool busy() const { return bits || !bytes.empty(); }

    bool step() {
        if (!bits && !bytes.empty()) {
            bits = (3u << 9) | (uint32_t(bytes.front()) << 1);
            bytes.pop_front();
            timer = divisor;
        }
        if (!bits) return true;
        const bool level = bits & 1;
        if (--timer == 0) {
            bits >>= 1;
            timer = divisor;
            if (bits == 1) bits = 0;
        }
        return level;
    }
};

// Bytes from the design's tx pin.
struct LineMonitor {
    int divisor;
    std::vector<uint8_t> bytes;
    int count = -1;  // bits taken; -1 between bytes
    int timer = 0;
    uint8_t data = 0;

    void step(bool level) {
        if (count < 0) {
            if (!level) {
                count = 0;
                timer = divisor + divisor / 2;
            }
            return;
        }
        if (--timer) return;
        timer = divisor;
        if (count++ < 8) {
            data = uint8_t(data >> 1 | level << 7);
        } else {
            if (level) bytes.push_back(data);
            count = -1;
        }
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    const int terminal = atoi(argv[1]), divisor = atoi(argv[2]);
    const long quiet_cycles = atol(argv[3]);
    fcntl(terminal, F_SETFL, O_NONBLOCK);

    VerilatedContext context;
    Vboard board{&context};
    LineDriver driver{divisor};
    LineMonitor monitor{divisor};
    board.rx = 1;
    const auto tick = [&board] {
        board.clk = 0;
        board.eval();
        board.clk = 1;
        board.eval();
    };
    board.rst = 1;
    for (int cycle = 0; cycle < 8; ++cycle) tick();
    board.rst = 0;
    long quiet = 0;
    for (uint64_t cycle = 0;; ++cycle) {
        board.rx = driver.step();
        monitor.step(board.tx);
        tick();
        quiet = driver.busy() || monitor.count >= 0 ? 0 : quiet + 1;
        if (cycle % 64) continue;

        if (!monitor.bytes.empty()) {
            // A host that does not read loses bytes, as at a real port.
            if (write(terminal, monitor.bytes.data(), monitor.bytes.size()) < 0) {}
            monitor.bytes.clear();
        }
        if (!driver.bytes.empty()) continue;
        pollfd waiting[2] = {{terminal, POLLIN, 0}, {0, POLLIN, 0}};
        if (poll(waiting, 2, quiet > quiet_cycles ? -1 : 0) <= 0) continue;
        if (waiting[1].revents) return 0;
        uint8_t buffer[256];
        const ssize_t got = read(terminal, buffer, sizeof buffer);
        if (got > 0) {
            driver.bytes.insert(driver.bytes.end(), buffer, buffer + got);
        } else if (waiting[0].revents & POLLHUP) {
            usleep(1000);  // nobody has the terminal open
        }
    }
}
