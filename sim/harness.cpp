// Feeds one core from memory at full speed, and records what it sends.
//
// Usage: harness INPUT OUTPUT
// INPUT: eight 64-bit words (commands, act beats, wgt beats, expected output beats, three stall
// thresholds and the output's, each of 2^32) and a seed and a cycle limit, then the beats.
// OUTPUT: four 64-bit words (cycles, output beats, cmd_error, flags), then the output beats, each
// followed by one byte of tlast.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

#include "Vcore.h"
#include "verilated.h"

template <typename Port>
void load(Port& port, const uint8_t* bytes, size_t count) {
    std::memset(static_cast<void*>(&port), 0, sizeof(port));
    std::memcpy(static_cast<void*>(&port), bytes, count);
}

// xorshift: small, seeded, and the same on every machine.
struct Random {
    uint64_t state;
    uint32_t next() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<uint32_t>(state >> 32);
    }
};

struct Source {
    const uint8_t* beats;
    size_t pitch;
    uint64_t count;
    uint64_t stall;  // of 2^32
    uint64_t sent = 0;
    bool valid = false;

    // Offer the next beat unless the dice say no; once offered, a beat stays.
    void offer(Random& random) {
        if (!valid) valid = sent < count && random.next() >= stall;
    }
    const uint8_t* beat() const { return beats + sent * pitch; }
    void taken() {
        sent++;
        valid = false;
    }
};

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    std::FILE* file = std::fopen(argv[1], "rb");
    if (!file) return 2;
    uint64_t head[10];
    if (std::fread(head, sizeof(uint64_t), 10, file) != 10) return 2;
    const size_t pitch[3] = {8, ACT_BYTES, WGT_BYTES};
    std::vector<uint8_t> data[3];
    for (int i = 0; i < 3; i++) {
        data[i].resize(head[i] * pitch[i] + 1);
        if (std::fread(data[i].data(), 1, head[i] * pitch[i], file) != head[i] * pitch[i]) return 2;
    }
    std::fclose(file);
    const uint64_t expected = head[3], limit = head[9];
    Random random{head[8] * 2 + 0x9E3779B97F4A7C15ull};

    VerilatedContext context;
    context.randReset(2);
    context.randSeed(static_cast<int>(head[8] % 0x7FFFFFFF) + 1);
    Vcore core{&context};
    Source cmd{data[0].data(), pitch[0], head[0], head[4]};
    Source act{data[1].data(), pitch[1], head[1], head[5]};
    Source wgt{data[2].data(), pitch[2], head[2], head[6]};
    std::vector<uint8_t> out;
    std::vector<uint8_t> held(OUT_BYTES + 1);
    uint64_t cycle = 0, start = 0, end = 0, beats = 0, waited = 0, flags = 0;
    bool started = false, waiting = false;

    auto edge = [&] {
        core.clk = 1;
        core.eval();
        core.clk = 0;
        core.eval();
    };
    core.clk = 0;
    core.rst = 1;
    core.s_axis_cmd_tvalid = core.s_axis_act_tvalid = core.s_axis_wgt_tvalid = 0;
    core.m_axis_out_tready = 0;
    core.eval();
    edge();
    edge();
    core.rst = 0;

    // Run until everything is sent and received, and then on, to see that nothing else comes.
    const uint64_t quiet = 4 * (ROWS + COLS) + 16;
    while (waited < quiet && cycle < limit) {
        cmd.offer(random);
        act.offer(random);
        wgt.offer(random);
        core.s_axis_cmd_tvalid = cmd.valid;
        core.s_axis_act_tvalid = act.valid;
        core.s_axis_wgt_tvalid = wgt.valid;
        if (cmd.valid) load(core.s_axis_cmd_tdata, cmd.beat(), cmd.pitch);
        if (act.valid) load(core.s_axis_act_tdata, act.beat(), act.pitch);
        if (wgt.valid) load(core.s_axis_wgt_tdata, wgt.beat(), wgt.pitch);
        core.m_axis_out_tready = random.next() >= head[7];
        core.eval();
        if (cmd.valid && core.s_axis_cmd_tready) {
            if (!started) start = cycle;
            started = true;
            cmd.taken();
        }
        if (act.valid && core.s_axis_act_tready) act.taken();
        if (wgt.valid && core.s_axis_wgt_tready) wgt.taken();
        const bool done = beats == expected && cmd.sent == cmd.count && act.sent == act.count &&
                          wgt.sent == wgt.count;
        waited = done ? waited + 1 : 0;
        if (core.m_axis_out_tvalid) {
            std::vector<uint8_t> beat(OUT_BYTES + 1);
            std::memcpy(beat.data(), static_cast<const void*>(&core.m_axis_out_tdata), OUT_BYTES);
            beat[OUT_BYTES] = core.m_axis_out_tlast;
            if (waiting && beat != held) flags |= 1;  // payload changed while it waited
            held = beat;
            waiting = !core.m_axis_out_tready;
            if (core.m_axis_out_tready) {
                out.insert(out.end(), beat.begin(), beat.end());
                beats++;
                end = cycle;
            }
        } else {
            if (waiting) flags |= 2;  // valid was withdrawn
            waiting = false;
        }
        edge();
        cycle++;
    }
    if (cycle >= limit) flags |= 4;  // a stream did not end
    file = std::fopen(argv[2], "wb");
    if (!file) return 2;
    const uint64_t result[7] = {end - start, beats, core.cmd_error, flags, cmd.sent, act.sent, wgt.sent};
    bool fine = std::fwrite(result, sizeof(uint64_t), 7, file) == 7;
    fine &= std::fwrite(out.data(), 1, out.size(), file) == out.size();
    fine &= std::fclose(file) == 0;
    core.final();
    return fine ? 0 : 2;
}
