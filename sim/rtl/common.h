// What the benches in C++ share: it stands in front of each of them.

#include <cstdint>
#include <cstdio>
#include <cstring>

// xorshift: small, seeded, and the same on every machine.
struct Random {
    uint64_t state;
    uint32_t next() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<uint32_t>(state >> 32);
    }
    void fill(void* bytes, size_t count) {
        for (size_t at = 0; at < count; at += 4) {
            const uint32_t word = next();
            std::memcpy(static_cast<char*>(bytes) + at, &word, count - at < 4 ? count - at : 4);
        }
    }
};

template <typename Item>
bool receive(Item* items, size_t count) {
    return std::fread(items, sizeof(Item), count, stdin) == count;
}
template <typename Item>
bool send(const Item* items, size_t count) {
    return std::fwrite(items, sizeof(Item), count, stdout) == count;
}
