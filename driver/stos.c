/* Driver of the ST-OS accelerator; see stos.h. SPDX-License-Identifier: Apache-2.0 */
#include "stos.h"

/* Registers: what hw.accelerator.registers says (verif/test_driver.py compares them). */
enum {
    REG_ID = 0x000,
    REG_VERSION = 0x004,
    REG_SHAPE = 0x008,
    REG_FEATURES = 0x00C,
    REG_CONTROL = 0x010,
    REG_STATUS = 0x014,
    REG_IRQ_ENABLE = 0x018,
    REG_IRQ_PENDING = 0x01C,
    REG_IMAGE = 0x020,
    REG_INPUT = 0x028,
    REG_OUTPUT = 0x030,
    REG_SCRATCH = 0x038,
    REG_CYCLES = 0x040,
    REG_ARRAY_CYCLES = 0x048,
    REG_WEIGHTS_CYCLES = 0x050,
    REG_ACTIVATIONS_CYCLES = 0x058,
    REG_RESULTS_CYCLES = 0x060,
    REG_BYTES_READ = 0x068,
    REG_BYTES_WRITTEN = 0x070
};

#define IDENTITY 0x53544F53u
#define MAGIC 0x474D4953u
#define MAJOR 1u

static uint32_t get(const stos_device *device, uint32_t offset) {
    return device->hooks->read(device->context, offset);
}

static void put(const stos_device *device, uint32_t offset, uint32_t value) {
    device->hooks->write(device->context, offset, value);
}

static uint64_t get_wide(const stos_device *device, uint32_t offset) {
    const uint64_t low = get(device, offset);
    return low | (uint64_t)get(device, offset + 4) << 32;
}

static void put_wide(const stos_device *device, uint32_t offset, uint64_t value) {
    put(device, offset, (uint32_t)value);
    put(device, offset + 4, (uint32_t)(value >> 32));
}

int stos_init(stos_device *device, const stos_hooks *hooks, void *context) {
    uint32_t shape;
    device->hooks = hooks;
    device->context = context;
    if (get(device, REG_ID) != IDENTITY) return STOS_NO_DEVICE;
    device->version = get(device, REG_VERSION);
    if (device->version >> 16 != MAJOR) return STOS_OTHER_VERSION;
    shape = get(device, REG_SHAPE);
    device->rows = (uint16_t)(shape & 0xFFFF);
    device->cols = (uint16_t)(shape >> 16);
    device->st_os = (uint8_t)(get(device, REG_FEATURES) & 1);
    return STOS_OK;
}

int stos_check(const stos_device *device, const void *image, size_t bytes) {
    const uint8_t *at = (const uint8_t *)image;
    uint32_t field[7], all = 0;
    int n;
    if (bytes < 64) return STOS_BAD_IMAGE;
    for (n = 0; n < 7; n++) {
        field[n] = (uint32_t)at[4 * n] | (uint32_t)at[4 * n + 1] << 8 |
                   (uint32_t)at[4 * n + 2] << 16 | (uint32_t)at[4 * n + 3] << 24;
        all ^= field[n];
    }
    if (field[0] != MAGIC || field[1] != device->version || all != 0) return STOS_BAD_IMAGE;
    /* The program lies behind the header, the weights where it says. */
    if (field[3] > bytes - 64 || field[4] > bytes || field[5] > bytes - field[4])
        return STOS_BAD_IMAGE;
    return STOS_OK;
}

int stos_start(const stos_device *device, uint64_t image, uint64_t inputs, uint64_t outputs,
               uint64_t scratch) {
    if (get(device, REG_STATUS) & 1) return STOS_BUSY;
    if (image & 63) return STOS_MISALIGNED;
    put_wide(device, REG_IMAGE, image);
    put_wide(device, REG_INPUT, inputs);
    put_wide(device, REG_OUTPUT, outputs);
    put_wide(device, REG_SCRATCH, scratch);
    put(device, REG_IRQ_PENDING, 3);
    put(device, REG_IRQ_ENABLE, 3);
    put(device, REG_CONTROL, 1);
    return STOS_OK;
}

int stos_wait(const stos_device *device, uint32_t limit) {
    uint32_t looks = 0;
    for (;;) {
        const uint32_t status = get(device, REG_STATUS);
        if (!(status & 1)) {
            put(device, REG_IRQ_PENDING, 3);
            return (int)(status >> 8 & 0xFF);
        }
        if (limit && ++looks >= limit) return STOS_TIMEOUT;
        if (device->hooks->pause) device->hooks->pause(device->context);
    }
}

void stos_abort(const stos_device *device) { put(device, REG_CONTROL, 2); }

uint32_t stos_job(const stos_device *device) { return get(device, REG_STATUS) >> 16; }

void stos_read_counters(const stos_device *device, stos_counters *counters) {
    counters->cycles = get_wide(device, REG_CYCLES);
    counters->array = get_wide(device, REG_ARRAY_CYCLES);
    counters->weights = get_wide(device, REG_WEIGHTS_CYCLES);
    counters->activations = get_wide(device, REG_ACTIVATIONS_CYCLES);
    counters->results = get_wide(device, REG_RESULTS_CYCLES);
    counters->bytes_read = get_wide(device, REG_BYTES_READ);
    counters->bytes_written = get_wide(device, REG_BYTES_WRITTEN);
}

void stos_flush(const stos_device *device, const void *address, size_t bytes) {
    if (device->hooks->flush) device->hooks->flush(device->context, address, bytes);
}

void stos_invalidate(const stos_device *device, void *address, size_t bytes) {
    if (device->hooks->invalidate) device->hooks->invalidate(device->context, address, bytes);
}

const char *stos_error(int code) {
    switch (code) {
        case STOS_OK: return "no error";
        case STOS_ABORTED: return "aborted";
        case STOS_BAD_IMAGE: return "bad image: magic, version, or the image of another machine";
        case STOS_ILLEGAL_JOB: return "illegal job";
        case STOS_READ_ERROR: return "AXI read error";
        case STOS_WRITE_ERROR: return "AXI write error";
        case STOS_MISALIGNED: return "misaligned address";
        case STOS_NO_DEVICE: return "no accelerator at this address";
        case STOS_OTHER_VERSION: return "an accelerator of another version";
        case STOS_BUSY: return "the accelerator is busy";
        case STOS_TIMEOUT: return "the run did not end in time";
        default: return "unknown error";
    }
}

/* Softmax in fixed point: the reference kernel's steps, on 64-bit numbers that hold 32-bit ones. */

static int64_t high_mul(int64_t a, int64_t b) {
    const int64_t found = (a * b + ((int64_t)1 << 30)) >> 31;
    return found > INT32_MAX ? INT32_MAX : found;
}

static int64_t rounding_shift(int64_t x, int exponent) {
    const int64_t mask = ((int64_t)1 << exponent) - 1;
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0));
}

static int64_t clip(int64_t x) {
    return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x;
}

/* exp(x) in Q0.31 for x <= 0 in Q5.26. */
static int64_t exponential(int64_t x) {
    static const int64_t powers[7] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242};
    const int64_t quarter = (int64_t)1 << 24;
    const int64_t low = (x & (quarter - 1)) - quarter;
    const int64_t t = low * 32 + ((int64_t)1 << 28);
    const int64_t t2 = high_mul(t, t), t3 = high_mul(t2, t);
    const int64_t t4 = rounding_shift(high_mul(t2, t2), 2);
    const int64_t series = rounding_shift(high_mul(t4 + t3, 715827883) + t2, 1);
    int64_t result = 1895147668 + high_mul(1895147668, t + series);
    int n;
    if (x == 0) return INT32_MAX;
    for (n = 0; n < 7; n++)
        if ((low - x) & ((int64_t)1 << (24 + n))) result = high_mul(result, powers[n]);
    return result;
}

/* 1 / (1 + x) in Q0.31 for x from 0 to 1. */
static int64_t reciprocal(int64_t x) {
    const int64_t half = (x + INT32_MAX + 1) >> 1;
    int64_t guess = 1515870810 + high_mul(half, -1010580540);
    int n;
    for (n = 0; n < 3; n++) {
        const int64_t rest = ((int64_t)1 << 29) - high_mul(half, guess);
        guess += clip(high_mul(guess, rest) * 4);
    }
    return clip(guess * 2);
}

void stos_softmax_scale(double beta_scale, int32_t *multiplier, int *shift) {
    double real = beta_scale * 67108864.0;
    int64_t found;
    int exponent = 0;
    if (real > 2147483647.0) real = 2147483647.0;
    while (real >= 1.0) {
        real *= 0.5;
        exponent++;
    }
    while (real > 0.0 && real < 0.5) {
        real *= 2.0;
        exponent--;
    }
    found = (int64_t)(real * 2147483648.0 + 0.5);
    if (found == (int64_t)1 << 31) {
        found /= 2;
        exponent++;
    }
    *multiplier = (int32_t)found;
    *shift = exponent;
}

void stos_softmax(const int8_t *x, int8_t *y, size_t classes, int32_t multiplier, int shift) {
    const int64_t least = -(((int64_t)31 << 26) >> shift);
    int64_t most = -128, total = 0, inverse;
    int headroom = 0;
    size_t n;
    for (n = 0; n < classes; n++)
        if (x[n] > most) most = x[n];
    for (n = 0; n < classes; n++)
        if (x[n] - most >= least)
            total += rounding_shift(
                exponential(high_mul((x[n] - most) * ((int64_t)1 << shift), multiplier)), 12);
    while (!(total >> (31 - headroom) & 1)) headroom++;
    inverse = reciprocal(total * ((int64_t)1 << headroom) - ((int64_t)1 << 31));
    for (n = 0; n < classes; n++) {
        int64_t result = -128;
        if (x[n] - most >= least) {
            const int64_t scaled = high_mul((x[n] - most) * ((int64_t)1 << shift), multiplier);
            result += rounding_shift(high_mul(inverse, exponential(scaled)),
                                     12 - headroom + 31 - 8);
        }
        y[n] = (int8_t)(result < -128 ? -128 : result > 127 ? 127 : result);
    }
}
