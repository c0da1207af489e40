// An accelerator, a memory with a fixed latency behind its AXI4 port, and a host at its registers.
//
// Reads requests from standard input until it ends, and answers each on standard output.
// Request: `Head`, its accesses, its watches, then the memory. Answer: `Answer`, a `Job` for every
// job that began, what was watched, what accesses were answered with, then the memory.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vcore.h"
#include "Vcore___024root.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define INSIDE(name) core.rootp->JOIN(stos_accelerator__DOT__, name)
#define COUNTER(name) INSIDE(JOIN(counters__DOT__, name))

struct Head {
    uint64_t bytes;       // of the memory
    uint64_t base;        // its address on the bus
    uint64_t address[4];  // IMAGE, INPUT, OUTPUT, SCRATCH, in the memory
    uint64_t latency;     // cycles from a read address to its first beat
    uint64_t stall;       // of 2^32: every ready and every answer
    uint64_t seed;        // of the stalls, and of registers before reset
    uint64_t limit;       // cycles of a run
    uint64_t bad_read;    // index of a beat that is answered with an error, from 1 on; 0 for none
    uint64_t bad_write;   // the same of a write burst
    uint64_t response;    // of what is bad
    uint64_t abort;       // cycles after the start that an abort is written in; 0 for none
    uint64_t reset;       // whether the run begins with a reset, and its cycle after the start if
                          // more than 1: then the run is cut off there
    uint64_t watches;     // tensors to look at
    uint64_t accesses;    // of registers, before the run; after it, all registers are read
    uint64_t mutant;      // input `mutant` of an accelerator with planted faults
};

struct Watch {
    uint64_t job, address, bytes;  // what lies there when the job has ended
    uint64_t loaded;               // and when nothing is on its way from memory
};

struct Access {
    uint64_t write, offset, value, strobe;
    uint64_t order;  // of a write: 0 for both parts at once, 1 for its address first, 2 for its data
    uint64_t late;   // cycles until the answer is taken
};

struct Answer {
    uint64_t status;  // the register; all ones if there was no interrupt within the limit
    uint64_t faults;  // of `Fault`
    uint64_t counters[7];
    uint64_t jobs;
    uint64_t read_beats, write_bursts;
};

struct Job {
    uint64_t cycle;  // after the start
    uint64_t counters[6];
};

enum Fault : uint64_t {
    CHANGED = 1,    // a payload changed, or valid fell, while it waited
    CROSSED = 2,    // a burst crosses 4 KiB, is misaligned, or has a wrong type
    OUTSIDE = 4,    // an address is not in the memory
    REFUSED = 8,    // rready or bready was low
    UNASKED = 16,   // wlast at the wrong beat
    LATE = 32,      // something was outstanding at the end of a run
    REGISTER = 64,  // a register access was answered with an error
};

constexpr uint64_t BUS = BUS_BYTES;

struct Beat {
    uint64_t due, address;
    uint8_t id, last;
};

struct Burst {
    uint64_t address;
    uint32_t beats;
    uint8_t id;
};

struct Data {
    uint8_t bytes[BUS];
    uint64_t strobe;
    uint8_t last;
};

// A payload that waits has to stay.
template <size_t N>
struct Held {
    bool waiting = false;
    uint64_t value[N] = {};
    bool broken(bool valid, bool ready, const uint64_t (&now)[N]) {
        const bool bad = waiting && (!valid || std::memcmp(value, now, sizeof now) != 0);
        waiting = valid && !ready;
        std::memcpy(value, now, sizeof now);
        return bad;
    }
};

struct Bench {
    Vcore& core;
    std::vector<uint8_t>& memory;
    Head head;
    Random random;
    Answer answer{};
    std::deque<Beat> reads;
    std::deque<Burst> writes;  // addresses whose data is to come
    std::deque<Data> data;     // data whose addresses are to come
    std::deque<std::pair<uint8_t, uint8_t>> answers;
    uint64_t cycle = 0, written = 0;
    std::vector<uint32_t> trace;  // what moved, by cycle
    Held<2> address_read, address_write;
    Held<1> data_write;

    bool stalled() { return head.stall && random.next() < head.stall; }

    // Where a bus address lies in the memory.
    uint64_t place(uint64_t address) const {
        return (address - head.base) & (~uint64_t{0} >> (64 - ADDRESS_BITS));
    }

    void check(uint64_t address, uint32_t beats, int size, int burst) {
        const uint64_t end = address + beats * BUS;
        if ((1u << size) != BUS || burst != 1 || address % BUS || (address ^ (end - 1)) >> 12)
            answer.faults |= CROSSED;
        if (end > memory.size()) answer.faults |= OUTSIDE;
    }

    // One clock cycle; the register inputs are those that the caller has set.
    void tick() {
        core.m_axi_arready = !stalled();
        core.m_axi_awready = !stalled();
        core.m_axi_wready = !stalled();
        const bool gives = !reads.empty() && reads.front().due <= cycle && !stalled();
        core.m_axi_rvalid = gives;
        core.m_axi_rresp = 0;
        if (gives) {
            const Beat& beat = reads.front();
            core.m_axi_rid = beat.id;
            core.m_axi_rlast = beat.last;
            if (answer.read_beats + 1 == head.bad_read) core.m_axi_rresp = head.response;
            std::memset(static_cast<void*>(&core.m_axi_rdata), 0, sizeof core.m_axi_rdata);
            if (beat.address + BUS <= memory.size())
                std::memcpy(static_cast<void*>(&core.m_axi_rdata), &memory[beat.address], BUS);
        }
        const bool ends = !answers.empty() && !stalled();
        core.m_axi_bvalid = ends;
        core.m_axi_bresp = 0;
        if (ends) {
            core.m_axi_bid = answers.front().first;
            core.m_axi_bresp = answers.front().second;
        }
        core.eval();
        if (gives) {
            if (!core.m_axi_rready) answer.faults |= REFUSED;
            answer.read_beats++;
            reads.pop_front();
        }
        if (ends) {
            if (!core.m_axi_bready) answer.faults |= REFUSED;
            answers.pop_front();
        }
        const uint64_t ar[2] = {place(core.m_axi_araddr), core.m_axi_arlen};
        const uint64_t aw[2] = {place(core.m_axi_awaddr), core.m_axi_awlen};
        uint64_t w[1] = {core.m_axi_wstrb};
        for (uint64_t n = 0; n < BUS; n++)
            w[0] = w[0] * 31 + reinterpret_cast<const uint8_t*>(&core.m_axi_wdata)[n];
        if (address_read.broken(core.m_axi_arvalid, core.m_axi_arready, ar) ||
            address_write.broken(core.m_axi_awvalid, core.m_axi_awready, aw) ||
            data_write.broken(core.m_axi_wvalid, core.m_axi_wready, w))
            answer.faults |= CHANGED;
        if (core.m_axi_arvalid && core.m_axi_arready) {
            const uint32_t beats = core.m_axi_arlen + 1u;
            check(ar[0], beats, core.m_axi_arsize, core.m_axi_arburst);
            for (uint32_t n = 0; n < beats; n++)
                reads.push_back({cycle + (head.latency ? head.latency : 1), ar[0] + n * BUS,
                                 core.m_axi_arid, n + 1 == beats});
        }
        if (core.m_axi_awvalid && core.m_axi_awready) {
            const uint32_t beats = core.m_axi_awlen + 1u;
            check(aw[0], beats, core.m_axi_awsize, core.m_axi_awburst);
            writes.push_back({aw[0], beats, core.m_axi_awid});
        }
        if (core.m_axi_wvalid && core.m_axi_wready) {
            data.push_back({{}, core.m_axi_wstrb, core.m_axi_wlast});
            std::memcpy(data.back().bytes, &core.m_axi_wdata, BUS);
        }
        while (!writes.empty() && !data.empty()) {
            Burst& burst = writes.front();
            const Data& beat = data.front();
            const uint64_t place = burst.address + written * BUS;
            for (uint64_t n = 0; n < BUS; n++)
                if ((beat.strobe >> n & 1) && place + n < memory.size())
                    memory[place + n] = beat.bytes[n];
            const bool last = ++written == burst.beats;
            if (last != beat.last) answer.faults |= UNASKED;
            data.pop_front();
            if (last) {
                const bool bad = ++answer.write_bursts == head.bad_write;
                answers.push_back({burst.id, static_cast<uint8_t>(bad ? head.response : 0)});
                writes.pop_front();
                written = 0;
            }
        }
#ifdef TRACE
        core.eval();
        const bool read = core.m_axi_rvalid, program = read && core.m_axi_rid == 0,
                   weights = read && core.m_axi_rid == 1;
        const bool moved[] = {
            core.s_axi_ctl_wvalid && core.s_axi_ctl_wready,
            core.m_axi_arvalid && core.m_axi_arready,
            program,
            weights,
            read && !program && !weights,
            bool(INSIDE(machine__DOT__o_array)),
            bool(INSIDE(machine__DOT__engine__DOT__o_valid)),
            core.m_axi_awvalid && core.m_axi_awready,
            core.m_axi_wvalid && core.m_axi_wready,
            ends,
            bool(core.irq),
        };
        uint32_t record = 0;
        for (size_t n = 0; n < sizeof moved; n++) record |= uint32_t{moved[n]} << n;
        trace.push_back(record);
#endif
        core.clk = 1;
        core.eval();
        core.clk = 0;
        cycle++;
    }

    // A register access takes a few cycles; one that does not end is an error, not a hang.
    uint64_t waited = 0;
    bool patient() {
        if (++waited < 1000) return true;
        answer.faults |= REGISTER;
        return false;
    }

    void idle() {
        core.s_axi_ctl_awvalid = core.s_axi_ctl_wvalid = core.s_axi_ctl_arvalid = 0;
        core.s_axi_ctl_bready = core.s_axi_ctl_rready = 1;
    }

    // Return what an access was answered with: the data of a read, above it the response.
    uint64_t access(const Access& one) {
        idle();
        core.s_axi_ctl_awaddr = core.s_axi_ctl_araddr = one.offset;
        core.s_axi_ctl_wdata = one.value;
        core.s_axi_ctl_wstrb = one.strobe;
        bool address = one.write, data = one.write, question = !one.write;
        while ((address || data || question) && patient()) {
            core.s_axi_ctl_awvalid = address && (one.order != 2 || !data);
            core.s_axi_ctl_wvalid = data && (one.order != 1 || !address);
            core.s_axi_ctl_arvalid = question;
            core.eval();
            const bool a = core.s_axi_ctl_awvalid && core.s_axi_ctl_awready,
                       d = core.s_axi_ctl_wvalid && core.s_axi_ctl_wready,
                       q = core.s_axi_ctl_arready;
            tick();
            address &= !a;
            data &= !d;
            question &= !q;
        }
        idle();
        uint64_t found = 0;
        for (uint64_t late = one.late; patient();) {
            core.s_axi_ctl_bready = core.s_axi_ctl_rready = !late;
            core.eval();
            const bool valid = one.write ? core.s_axi_ctl_bvalid : core.s_axi_ctl_rvalid;
            const uint64_t response = one.write ? core.s_axi_ctl_bresp : core.s_axi_ctl_rresp;
            found = (one.write ? 0 : core.s_axi_ctl_rdata) | response << 32;
            tick();
            if (valid && !late) break;
            late -= valid && late;
        }
        idle();
        waited = 0;
        return found;
    }

    void write(uint32_t offset, uint32_t value) {
        if (access({1, offset, value, 15, 0, 0}) >> 32) answer.faults |= REGISTER;
    }

    uint32_t read(uint32_t offset) {
        const uint64_t found = access({0, offset, 0, 0, 0, 0});
        if (found >> 32) answer.faults |= REGISTER;
        return static_cast<uint32_t>(found);
    }

    uint64_t wide(uint32_t offset) {
        const uint64_t low = read(offset);
        return low | static_cast<uint64_t>(read(offset + 4)) << 32;
    }
};

// A byte of the activation memory: words lie in turn in an even and an odd bank.
template <typename Row>
uint8_t byte_of(const Row& row, uint64_t offset) {
    return reinterpret_cast<const uint8_t*>(&row)[offset];
}

#ifndef MUTANTS
uint8_t peek(Vcore& core, uint64_t address) {
    const uint64_t word = address / WORD_BYTES, row = word / 2, offset = address % WORD_BYTES;
    if (row >= BANK_ROWS) return 0;
    return word & 1 ? byte_of(INSIDE(machine__DOT__memory__DOT__odd__DOT__memory)[row], offset)
                    : byte_of(INSIDE(machine__DOT__memory__DOT__even__DOT__memory)[row], offset);
}
#else
uint8_t peek(Vcore&, uint64_t) { return 0; }
#endif

#ifdef STOS_DRIVER
// The same runs, but the host is the driver in C, as a board has it.
Bench* bench_of(void* context) { return static_cast<Bench*>(context); }
const stos_hooks HOOKS = {
    [](void* context, uint32_t offset) { return bench_of(context)->read(offset); },
    [](void* context, uint32_t offset, uint32_t value) { bench_of(context)->write(offset, value); },
    nullptr,
    nullptr,
    [](void* context) {
        bench_of(context)->idle();
        for (int n = 0; n < 100; n++) bench_of(context)->tick();
    },
};

void drive(Bench& bench) {
    stos_device device;
    int code = stos_init(&device, &HOOKS, &bench);
    if (!code) code = stos_check(&device, &bench.memory[bench.head.address[0]],
                                 bench.memory.size() - bench.head.address[0]);
    uint64_t at[4];
    for (int n = 0; n < 4; n++) at[n] = bench.head.base + bench.head.address[n];
    if (!code) code = stos_start(&device, at[0], at[1], at[2], at[3]);
    if (!code && stos_start(&device, 0, 0, 0, 0) != STOS_BUSY) code = 200;
    if (!code && bench.head.abort) stos_abort(&device);
    if (!code) code = stos_wait(&device, static_cast<uint32_t>(bench.head.limit / 100));
    stos_counters counters;
    stos_read_counters(&device, &counters);
    std::memcpy(bench.answer.counters, &counters, sizeof bench.answer.counters);
    bench.answer.status = static_cast<uint64_t>(code & 0xFF) << 8 | stos_job(&device) << 16;
}
#endif

int main(int argc, char** argv) {
    Verilated::randReset(2);
    auto context = std::make_unique<VerilatedContext>();
    context->randReset(2);
    auto model = std::make_unique<Vcore>(context.get());
    Vcore& core = *model;
    std::vector<uint8_t> memory;
    Head head;
    while (receive(&head, 1)) {
        std::vector<Access> accesses(head.accesses);
        std::vector<Watch> watches(head.watches);
        memory.resize(head.bytes);
        if (!receive(accesses.data(), head.accesses) || !receive(watches.data(), head.watches) ||
            !receive(memory.data(), head.bytes))
            return 1;
        Bench bench{core, memory, head, {head.seed * 2 + 1}};
        bench.idle();
#ifdef MUTANTS
        core.mutant = static_cast<uint32_t>(head.mutant);
#endif
        core.clk = 0;
        core.rst = 0;
        if (head.reset) {
            core.rst = 1;
            core.m_axi_rvalid = core.m_axi_bvalid = 0;
            core.eval();
            core.clk = 1;
            core.eval();
            core.clk = core.rst = 0;
        }
#ifdef STOS_DRIVER
        drive(bench);
        if (!send(&bench.answer, 1) || !send(memory.data(), memory.size())) return 1;
        std::fflush(stdout);
        continue;
#endif
        std::vector<uint64_t> found;
        for (const Access& one : accesses) found.push_back(bench.access(one));
        for (int n = 0; n < 4; n++) {
            const uint64_t address = head.base + head.address[n];
            bench.write(0x20 + 8 * n, static_cast<uint32_t>(address));
            bench.write(0x24 + 8 * n, static_cast<uint32_t>(address >> 32));
        }
        bench.write(0x18, 3);
        bench.write(0x1C, 3);
        bench.write(0x10, 1);
        const uint64_t start = bench.cycle;
        std::vector<Job> jobs;
        std::vector<std::vector<uint8_t>> seen(watches.size());
        uint64_t looked = 0;
        bool was = false;
        uint64_t completed = 0;  // jobs
        auto look = [&](bool loading) {
            if (completed == looked && loading == was) return;  // as in most cycles
            looked = completed;
            was = loading;
            for (size_t at = 0; at < watches.size(); at++) {
                const Watch& one = watches[at];
                if (!seen[at].empty() || one.job >= completed || (one.loaded && loading)) continue;
                for (uint64_t n = 0; n < one.bytes; n++)
                    seen[at].push_back(peek(core, one.address + n));
            }
        };
        uint64_t current = 0;
        bool done = false;
        bench.idle();
        for (uint64_t now = 0; now < head.limit && !done; now++) {
            if (head.abort && now == head.abort) {
                bench.write(0x10, 2);
            } else if (head.reset > 1 && now == head.reset) {
                break;
            } else {
                bench.tick();
            }
#ifndef MUTANTS  // they have no names inside
            const uint64_t index = INSIDE(machine__DOT__index);
            look(INSIDE(arriving));
            completed += INSIDE(machine__DOT__o_completes);  // with the next edge
            if (index != current || jobs.empty()) {
                jobs.push_back({COUNTER(cycles),
                                {COUNTER(array_cycles), COUNTER(weights_cycles),
                                 COUNTER(activations_cycles), COUNTER(results_cycles),
                                 COUNTER(beats_read) * BUS_BYTES,
                                 COUNTER(beats_written) * BUS_BYTES}});
                current = index;
            }
#endif
            core.eval();
            done = core.irq;
        }
        bench.answer.jobs = jobs.size();
        if (done) {
            if (!bench.reads.empty() || !bench.writes.empty() || !bench.data.empty() ||
                !bench.answers.empty())
                bench.answer.faults |= LATE;
            bench.answer.status = bench.read(0x14);
            for (int n = 0; n < 7; n++) bench.answer.counters[n] = bench.wide(0x40 + 8 * n);
        } else {
            bench.answer.status = ~uint64_t{0};
        }
        std::vector<uint8_t> all;
        for (size_t at = 0; at < watches.size(); at++) {
            seen[at].resize(watches[at].bytes);
            all.insert(all.end(), seen[at].begin(), seen[at].end());
        }
        if (head.accesses)
            for (uint64_t offset = 0; offset < 0x80; offset += 4)
                found.push_back(bench.access({0, offset, 0, 0, 0, 0}));
        if (!send(&bench.answer, 1) || !send(jobs.data(), jobs.size()) ||
            !send(all.data(), all.size()) || !send(found.data(), found.size()) ||
            !send(memory.data(), memory.size()))
            return 1;
#ifdef TRACE
        const uint64_t cycles = bench.trace.size();
        if (!send(&cycles, 1) || !send(bench.trace.data(), cycles)) return 1;
#endif
        std::fflush(stdout);
    }
    core.final();
#if VM_COVERAGE
    if (argc > 1) context->coveragep()->write(argv[1]);
#endif
    (void)argc;
    (void)argv;
    return 0;
}
