// A component, cycle by cycle: what the unit tests drive in the place of Amaranth's simulator.
//
// Reads requests from standard input until it ends. A 'b' and a seed: begin, with garbage in all
// registers; an 'o' in its place: with ones. A 'c' and all inputs, each in whole bytes: a cycle; it
// answers with all outputs, as they are just before the edge of the clock. PORTS lists them, and
// MUTANT is the fault.

#include <memory>
#include <vector>

#include "Vcore.h"
#include "verilated.h"

struct Port {
    void* at;
    size_t size, bytes;
};

int main(int count, char** words) {
    const uint32_t mutant = count > 1 ? std::strtoul(words[1], nullptr, 10) : 0;
    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vcore> core;
    std::vector<Port> inputs, outputs;
    char what;
    while (receive(&what, 1)) {
        if (what != 'c') {
            uint32_t seed;
            if (!receive(&seed, 1)) return 1;
            core.reset();
            context = std::make_unique<VerilatedContext>();
            context->randReset(what == 'o' ? 1 : 2);
            context->randSeed(seed | 1);
            core = std::make_unique<Vcore>(context.get());
            core->mutant = mutant;
            core->clk = 0;
            inputs = {INPUTS};
            outputs = {OUTPUTS};
            continue;
        }
        for (const Port& one : inputs) {
            std::memset(one.at, 0, one.size);
            if (!receive(static_cast<char*>(one.at), one.bytes)) return 1;
        }
        core->eval();
        for (const Port& one : outputs) send(static_cast<const char*>(one.at), one.bytes);
        std::fflush(stdout);
        core->clk = 1;
        core->eval();
        core->clk = 0;
    }
    return 0;
}
