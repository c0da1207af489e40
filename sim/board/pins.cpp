// A board's design, and a wire to its pins.
//
// Reads requests from standard input until it ends: how many items are to be sent, how many bytes
// are wanted back, and for how many cycles they are waited for once all is sent. An item is a byte,
// with the next bit set if its stop bit is to be wrong, and above that the bits of silence in front
// of it. Answers with the number of bytes, the cycles since the beginning, the lights, the bytes.

#include <deque>
#include <vector>

#include "Vcore.h"
#include "verilated.h"

struct Request {
    uint32_t items, wanted;
    uint64_t patience;
};

struct Answer {
    uint32_t bytes, lights;
    uint64_t cycles;
};

// One end of the wire: ten bits of DIVISOR cycles for every byte.
struct Sender {
    std::deque<uint16_t> items;
    uint64_t left = 0;  // cycles of this level
    uint32_t bits = 0, count = 0;
    bool level = true;

    bool busy() const { return left || count || !items.empty(); }
    void step() {
        if (left) left--;
        if (left) return;
        if (!count && !items.empty()) {
            const uint32_t item = items.front();
            items.pop_front();
            const uint32_t silence = item >> 9, stop = ~item >> 8 & 1;
            bits = (item & 0xFF) << 1 | stop << 9 | 1u << 10;
            count = 11;  // a bit of silence after a wrong stop bit, for the next byte to begin
            if (stop) count = 10;
            if (silence) {
                level = true;
                left = uint64_t{silence} * DIVISOR;
                return;
            }
        }
        level = true;
        if (count) {
            level = bits & 1;
            bits >>= 1;
            count--;
            left = DIVISOR;
        }
    }
};

struct Taker {
    std::vector<char> bytes;
    uint32_t bits = 0, value = 0;
    uint64_t left = 0;  // cycles to the middle of the next bit
    bool wrong = false;  // a stop bit was 0

    void step(bool level) {
        if (!bits) {
            if (level) return;
            bits = 10;
            left = DIVISOR / 2;
        }
        if (left--) return;
        left = DIVISOR - 1;
        bits--;
        if (bits == 0) {
            wrong |= !level;
            bytes.push_back(static_cast<char>(value));
        } else if (bits < 9) {
            value = value >> 1 | (level ? 0x80 : 0);
        }
    }
};

int main() {
    VerilatedContext context;
    Vcore core(&context);
    Sender sender;
    Taker taker;
#ifdef SDRAM_CLOCK
    Sdram chip(SDRAM_CLOCK);
#endif
    uint64_t cycles = 0;
    core.i_rx = 1;
    core.clk = 0;
    core.rst = 1;
    Request request;
    while (receive(&request, 1)) {
        std::vector<uint16_t> items(request.items);
        if (!receive(items.data(), items.size())) return 1;
        sender.items.insert(sender.items.end(), items.begin(), items.end());
        uint64_t waited = 0;
        while (sender.busy() || (waited < request.patience && taker.bytes.size() < request.wanted)) {
            if (!sender.busy()) waited++;
            sender.step();
            core.i_rx = sender.level;
            core.eval();
            taker.step(core.o_tx);
#ifdef SDRAM_CLOCK
            chip.step(core);
#endif
            core.clk = 1;
            core.eval();
            core.clk = 0;
            core.rst = 0;
            cycles++;
        }
        if (taker.wrong) {
            std::fputs("the board sent a byte whose stop bit is 0\n", stderr);
            return 1;
        }
        const uint32_t got = static_cast<uint32_t>(taker.bytes.size());
        const Answer answer = {got < request.wanted ? got : request.wanted,
                               core.o_busy | core.o_done * 2u | core.o_error * 4u, cycles};
        send(&answer, 1);
        send(taker.bytes.data(), answer.bytes);
        taker.bytes.erase(taker.bytes.begin(), taker.bytes.begin() + answer.bytes);
        std::fflush(stdout);
    }
    return 0;
}
