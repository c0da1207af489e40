// A chip of SDR SDRAM at the pins of a board's design, as an MT48LC16M16: 4 banks of 8,192 rows of
// 512 words of 16 bits. Its clock follows the design's by a quarter of a cycle, so that it sees in
// a cycle what the design has set at the edge before, and what it answers, CAS latency - 1 cycles
// later, the design takes at the next edge. Commands that come too soon, too late or in the wrong
// order end the simulation, and so do both sides that drive the data.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vcore.h"

class Sdram {
  public:
    // clock: Hz. Before they are written, contents are noise.
    explicit Sdram(double clock) : cells(WORDS), clock(clock) {
        uint32_t noise = 1;
        for (auto& cell : cells) cell = static_cast<uint16_t>((noise = noise * 1664525 + 1013904223) >> 16);
    }

    // One cycle: takes what is at the pins, and sets the data pins for the next edge.
    void step(Vcore& core) {
        now++;
        core.i_sdram_dq = due;
        due = later;
        later = NOTHING;
        must(!(core.o_sdram_dq_oe && now <= answering), "both sides drive the data pins");
        if (mode) must(now <= refreshed + 9 * cycles(64e-3 / 8192), "a refresh is late");
        if (!core.o_sdram_cke || core.o_sdram_cs_n) return;
        if (!powered) powered = now;
        const uint32_t command = core.o_sdram_ras_n << 2 | core.o_sdram_cas_n << 1 | core.o_sdram_we_n;
        const uint32_t address = core.o_sdram_a;
        const bool ten = address >> 10 & 1;
        Bank& bank = banks[core.o_sdram_ba];
        if (command != 7) must(now >= set + 2, "a command sooner than tMRD");
        switch (command) {
            case 7:  // nothing
                return;
            case 3:  // a row is opened
                must(mode, "a row is opened before the mode is set");
                must(!bank.open, "a row is opened in a bank that has one open");
                must(now >= bank.closed + cycles(20e-9), "a row is opened sooner than tRP");
                must(now >= bank.opened + cycles(66e-9), "a row is opened sooner than tRC");
                must(now >= refreshed + cycles(66e-9), "a row is opened sooner than tRFC");
                for (const auto& one : banks)
                    must(now >= one.opened + cycles(15e-9), "a row is opened sooner than tRRD");
                bank.open = true;
                bank.opened = now;
                bank.row = address;
                return;
            case 5:  // read
            case 4: {  // write
                must(bank.open, "a word of a bank without an open row");
                must(now >= bank.opened + cycles(20e-9), "a word sooner than tRCD");
                uint16_t& cell = cells[(core.o_sdram_ba * 8192 + bank.row) * 512 + (address & 511)];
                if (command == 5) {
                    must(mode != 2 || !core.o_sdram_dm, "a read is masked");
                    (mode == 2 ? due : later) = cell;
                    answering = now + mode;
                } else {
                    must(core.o_sdram_dq_oe == 0xFFFF, "a word is written that nobody drives");
                    const uint32_t kept = (core.o_sdram_dm & 1 ? 0xFF : 0) | (core.o_sdram_dm & 2 ? 0xFF00 : 0);
                    cell = static_cast<uint16_t>((cell & kept) | (core.o_sdram_dq & ~kept));
                    bank.written = now;
                }
                if (ten) {  // and the row is closed when that may be
                    uint64_t when = bank.opened + cycles(44e-9);
                    if (command == 4) when = std::max(when, now + cycles(15e-9));
                    close(bank, std::max(when, now));
                }
                return;
            }
            case 2:  // rows are closed
                closed |= ten;
                for (auto& one : banks) {
                    if (!one.open || !(ten || &one == &bank)) continue;
                    must(now >= one.opened + cycles(44e-9), "a row is closed sooner than tRAS");
                    must(now >= one.written + cycles(15e-9), "a row is closed sooner than tWR");
                    close(one, now);
                }
                return;
            case 1:  // refresh
                must(closed, "a refresh before all rows are closed once");
                for (const auto& one : banks) {
                    must(!one.open, "a refresh while a row is open");
                    must(now >= one.closed + cycles(20e-9), "a refresh sooner than tRP");
                }
                must(now >= refreshed + cycles(66e-9), "a refresh sooner than tRFC");
                refreshed = now;
                refreshes++;
                return;
            case 0:  // mode
                for (const auto& one : banks) must(!one.open, "the mode is set while a row is open");
                must(now >= powered + cycles(100e-6), "the mode is set sooner than 100 us after power-up");
                must(refreshes >= 2, "the mode is set before two refreshes");
                must((address & 7) == 0, "bursts of more than a word");
                mode = address >> 4 & 7;
                must(mode == 2 || mode == 3, "no such CAS latency");
                set = now;
                return;
            default:
                must(false, "a burst is stopped");
        }
    }

  private:
    static constexpr uint32_t WORDS = 4 * 8192 * 512;
    static constexpr uint16_t NOTHING = 0xDEAD;
    struct Bank {
        bool open = false;
        uint32_t row = 0;
        uint64_t opened = 0, closed = 0, written = 0;  // cycles
    };

    std::vector<uint16_t> cells;
    Bank banks[4];
    uint16_t due = NOTHING, later = NOTHING;  // what is at the pins at the next edge, and at the one after
    double clock;
    uint64_t now = 1000;  // so that all that was before is long ago
    uint64_t powered = 0, refreshed = 0, answering = 0, set = 0;
    bool closed = false;
    uint32_t refreshes = 0, mode = 0;  // CAS latency

    uint64_t cycles(double seconds) const { return static_cast<uint64_t>(std::ceil(seconds * clock - 1e-6)); }
    static void close(Bank& bank, uint64_t when) {
        bank.open = false;
        bank.closed = when;
    }
    static void must(bool holds, const char* otherwise) {
        if (holds) return;
        std::fprintf(stderr, "SDRAM: %s\n", otherwise);
        std::exit(1);
    }
};
