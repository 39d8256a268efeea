// Runs an accelerator in a loop of its own: transfers in from a file, scores out to another. No waveform, no record
// of inner streams. "design.h" says what the design is (abc_hw/sim/native.py writes it).
//
// Arguments: input file, output file, images, share of stalls in 256ths, seed of the stalls, cycles without an image
// after which to give up. Prints the number of images done whenever it grows by some; exit code 3: gave up.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "Vaccelerator.h"
#include "verilated.h"

#include "design.h"  // I_BYTES, O_SCORE_BITS, O_SIGNED, O_LABEL_BITS, OUTPUTS, TRANSFERS, LOAD_BYTES, REPORT

// Verilator writes "__" in a name so.
#define PORT(stream, signal) dut.stream##___05F##signal

namespace {

std::vector<uint8_t> read_file(const char* name) {
    std::vector<uint8_t> data;
    FILE* file = fopen(name, "rb");
    if (!file) {
        perror(name);
        exit(2);
    }
    uint8_t buffer[1 << 16];
    while (const size_t got = fread(buffer, 1, sizeof buffer, file)) data.insert(data.end(), buffer, buffer + got);
    fclose(file);
    return data;
}

// Bytes, lowest first, into a port of any width, and bits out of one.
template <typename Port> void put(Port& port, const uint8_t* bytes, int count) {
    memset(&port, 0, sizeof port);
    memcpy(&port, bytes, count);
}

template <typename Port> int64_t field(const Port& port, int start, int bits) {
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&port);
    uint64_t value = 0;
    for (int bit = 0; bit < bits; ++bit) {
        const int place = start + bit;
        value |= uint64_t(bytes[place / 8] >> place % 8 & 1) << bit;
    }
    return int64_t(value);
}

uint32_t xorshift(uint32_t& state) {
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7) return 2;
    const std::vector<uint8_t> input = read_file(argv[1]);
    const long images = atol(argv[3]);
    const uint32_t stall = atoi(argv[4]);
    uint32_t random = strtoul(argv[5], nullptr, 10) | 1;
    const uint64_t patience = strtoull(argv[6], nullptr, 10);
    FILE* output = fopen(argv[2], "wb");
    if (!output) {
        perror(argv[2]);
        return 2;
    }

    VerilatedContext context;
    Vaccelerator dut{&context};
    const auto edge = [&dut] {
        dut.clk = 1;
        dut.eval();
        dut.clk = 0;
    };
    dut.rst = 1;
    dut.clk = 0;
    dut.eval();
    edge();
    dut.rst = 0;

    const size_t loads = LOAD_BYTES ? LOAD_TRANSFERS : 0;
    const uint8_t* transfers = input.data() + loads * LOAD_BYTES;
    const uint64_t most = uint64_t(images) * TRANSFERS;
    uint64_t sent = 0, loaded = 0, last_done = 0;
    std::vector<int64_t> row(OUTPUTS + 2);  // scores, label, cycle
    int taken = 0;
    long done = 0;
    bool i_hold = false;
    for (uint64_t cycle = 0; done < images; ++cycle) {
        if (cycle - last_done > patience) return 3;
        const uint32_t chance = stall ? xorshift(random) : 0;
        PORT(i, valid) = sent < most && !i_hold;
        if (PORT(i, valid)) put(PORT(i, payload), transfers + sent * I_BYTES, I_BYTES);
        PORT(o, ready) = !stall || (chance & 255) >= stall;
#if LOAD_BYTES
        PORT(load, valid) = loaded < loads;
        if (PORT(load, valid)) put(PORT(load, payload), input.data() + loaded * LOAD_BYTES, LOAD_BYTES);
#endif
        dut.eval();
        const bool i_taken = PORT(i, valid) && PORT(i, ready);
        sent += i_taken;
        if (!PORT(i, valid) || i_taken) i_hold = stall && (chance >> 8 & 255) < stall;
#if LOAD_BYTES
        loaded += PORT(load, valid) && PORT(load, ready);
#endif
        if (PORT(o, valid) && PORT(o, ready)) {
            const int64_t score = field(PORT(o, payload), 0, O_SCORE_BITS);
            const bool last = field(PORT(o, payload), O_SCORE_BITS + O_LABEL_BITS, 1);
            if (last != (taken == OUTPUTS - 1)) return 4;
            row[taken++] = O_SIGNED ? int64_t(uint64_t(score) << (64 - O_SCORE_BITS)) >> (64 - O_SCORE_BITS) : score;
            if (last) {
                row[OUTPUTS] = field(PORT(o, payload), O_SCORE_BITS, O_LABEL_BITS);
                row[OUTPUTS + 1] = int64_t(cycle);
                if (fwrite(row.data(), row.size() * sizeof row[0], 1, output) != 1) return 2;
                taken = 0;
                last_done = cycle;
                if (++done % REPORT == 0 || done == images) {
                    printf("%ld\n", done);
                    fflush(stdout);
                }
            }
        }
        edge();
    }
    return fclose(output) ? 2 : 0;
}
