// Feeds one core from memory at full speed, and records what it sends.
//
// Reads runs from standard input until it ends, and answers each on standard output. All numbers
// are 64-bit words.
// Run: the words of `Head`, then the beats of commands, activations and weights.
// Answer: the words of `Answer`, then the output beats, each followed by one byte of tlast.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "Vcore.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

struct Head {
    uint64_t count[3];      // beats of commands, activations, weights
    uint64_t expected;      // output beats
    uint64_t stall[4];      // of 2^32: commands, activations, weights, output
    uint64_t seed;          // of the stalls, of garbage, and of registers before reset
    uint64_t limit;         // cycles
    uint64_t resets;        // one-cycle resets in traffic; everything starts anew after each
    uint64_t before_reset;  // the greatest number of cycles before each of them
    uint64_t mutant;        // input `mutant` of a core with planted faults
};

struct Answer {
    uint64_t cycles;  // from the first command to the last output beat; 0 if there is none
    uint64_t beats;
    uint64_t cmd_error;
    uint64_t faults;  // of `Fault`
    uint64_t taken[3];
    uint64_t start;  // cycles from reset to the first command
};

enum Fault : uint64_t {
    CHANGED = 1,      // m_axis_out payload changed while it waited
    WITHDRAWN = 2,    // m_axis_out_tvalid fell while it waited
    ENDLESS = 4,      // not everything was taken and sent within the limit
    DEPENDENT = 8,    // m_axis_out_tvalid or its payload depends on m_axis_out_tready
    UNASKED = 16,     // m_axis_out_tvalid, or cmd_error, before any command was taken
    FORGETFUL = 32,   // cmd_error fell without a reset
};

struct Source {
    std::vector<uint8_t> beats;
    size_t pitch;
    uint64_t count, stall;
    uint64_t sent = 0;
    bool valid = false;

    // Offer the next beat unless the dice say no; once offered, a beat stays. While nothing is
    // offered, the data is garbage.
    template <typename Port>
    void drive(Random& random, Port& port, uint8_t& tvalid) {
        if (!valid) {
            valid = sent < count && random.next() >= stall;
            if (valid) {
                std::memset(static_cast<void*>(&port), 0, sizeof(port));
                std::memcpy(static_cast<void*>(&port), beats.data() + sent * pitch, pitch);
            } else {
                random.fill(&port, pitch);
            }
        }
        tvalid = valid;
    }
    void take(bool ready) {
        if (valid && ready) {
            sent++;
            valid = false;
        }
    }
    bool done() const { return sent == count; }
};

struct Run {
    const Head& head;
    Vcore& core;
    Source (&sources)[3];
    Random random;
    Answer answer{};
    std::vector<uint8_t> out;
    uint8_t beat[OUT_BYTES + 1], held[OUT_BYTES + 1];
    uint64_t cycle = 0, start = 0, begin = 0;
    bool started = false, waiting = false;

    void edge() {
        core.clk = 1;
        core.eval();
        core.clk = 0;
        core.eval();
    }

    void reset() {
        core.rst = 1;
        edge();
        core.rst = 0;
        for (Source& source : sources) source.sent = source.valid = 0;
        const uint64_t faults = answer.faults;
        answer = Answer{};
        answer.faults = faults;
        begin = cycle;
        out.clear();
        started = waiting = false;
    }

    void look() {
        std::memcpy(beat, static_cast<const void*>(&core.m_axis_out_tdata), OUT_BYTES);
        beat[OUT_BYTES] = core.m_axis_out_tlast;
    }

    // One clock cycle.
    void step() {
        Source &cmd = sources[0], &act = sources[1], &wgt = sources[2];
        cmd.drive(random, core.s_axis_cmd_tdata, core.s_axis_cmd_tvalid);
        act.drive(random, core.s_axis_act_tdata, core.s_axis_act_tvalid);
        wgt.drive(random, core.s_axis_wgt_tdata, core.s_axis_wgt_tvalid);
        const bool ready = random.next() >= head.stall[3];
        if (head.stall[3]) {  // valid must not wait for ready: look at the other one first
            core.m_axis_out_tready = !ready;
            core.eval();
            look();
        }
        const uint8_t other = core.m_axis_out_tvalid;
        core.m_axis_out_tready = ready;
        core.eval();
        if (core.m_axis_out_tvalid) {
            if (head.stall[3]) {
                uint8_t first[OUT_BYTES + 1];
                std::memcpy(first, beat, sizeof(beat));
                look();
                if (!other || std::memcmp(first, beat, sizeof(beat))) answer.faults |= DEPENDENT;
            } else {
                look();
            }
            if (waiting && std::memcmp(beat, held, sizeof(beat))) answer.faults |= CHANGED;
            std::memcpy(held, beat, sizeof(beat));
            waiting = !ready;
            if (ready) {
                out.insert(out.end(), beat, beat + sizeof(beat));
                answer.beats++;
                answer.cycles = cycle - start;
            }
        } else {
            if (head.stall[3] && other) answer.faults |= DEPENDENT;
            if (waiting) answer.faults |= WITHDRAWN;
            waiting = false;
        }
        if (!started && (core.m_axis_out_tvalid || core.cmd_error)) answer.faults |= UNASKED;
        if (answer.cmd_error && !core.cmd_error) answer.faults |= FORGETFUL;
        answer.cmd_error = core.cmd_error;
        if (cmd.valid && core.s_axis_cmd_tready && !started) {
            start = cycle;
            answer.start = start - begin;
            started = true;
        }
        cmd.take(core.s_axis_cmd_tready);
        act.take(core.s_axis_act_tready);
        wgt.take(core.s_axis_wgt_tready);
        edge();
        cycle++;
    }

    void all() {
        core.clk = core.rst = 0;
        core.m_axis_out_tready = 0;
        core.s_axis_cmd_tvalid = core.s_axis_act_tvalid = core.s_axis_wgt_tvalid = 0;
        core.eval();
        reset();
        for (uint64_t index = 0; index < head.resets; index++) {
            const uint64_t last = random.next() % (head.before_reset + 1);
            for (uint64_t past = 0; past < last; past++) step();
            reset();
        }
        // Run until everything is sent and received, and then on, to see that nothing else comes.
        const uint64_t quiet = 4 * (ROWS + COLS) + 16, end = cycle + head.limit;
        uint64_t waited = 0;
        while (waited < quiet && cycle < end) {
            step();
            const bool done = answer.beats >= head.expected && sources[0].done() &&
                              sources[1].done() && sources[2].done();
            waited = done ? waited + 1 : 0;
        }
        if (waited < quiet) answer.faults |= ENDLESS;
        for (int index = 0; index < 3; index++) answer.taken[index] = sources[index].sent;
    }
};

int main(int argc, char** argv) {
    const size_t pitch[3] = {8, ACT_BYTES, WGT_BYTES};
    VerilatedContext context;
    std::unique_ptr<Vcore> core;
    Head head;
    while (receive(&head, 1)) {
        Source sources[3];
        for (int index = 0; index < 3; index++) {
            Source& source = sources[index];
            source.pitch = pitch[index];
            source.count = head.count[index];
            source.stall = head.stall[index];
            source.beats.resize(source.count * source.pitch);
            if (!receive(source.beats.data(), source.beats.size())) return 2;
        }
        context.randReset(2);
        context.randSeed(static_cast<int>(head.seed % 0x7FFFFFFF) + 1);
        // A fresh core, so that registers have new random values before reset. Coverage is counted
        // in the core itself, so there it stays.
        if (!VM_COVERAGE || !core) {
            if (core) core->final();
            core = std::make_unique<Vcore>(&context);
        }
#ifdef MUTANTS
        core->mutant = static_cast<uint32_t>(head.mutant);
#endif
        Run run{head, *core, sources, Random{head.seed * 2 + 0x9E3779B97F4A7C15ull}};
        run.all();
        if (!send(&run.answer, 1) || !send(run.out.data(), run.out.size()) || std::fflush(stdout)) {
            return 2;
        }
    }
#if VM_COVERAGE
    if (argc > 1) context.coveragep()->write(argv[1]);
#endif
    if (core) core->final();
    return 0;
}
