/* Driver of the ST-OS accelerator: one header, one source, C99, no malloc, no operating system.
 *
 * The machine reads an image that `python -m sim.compile` has written, with the inputs at the
 * offsets of its side-car, and leaves the outputs at theirs. SPDX-License-Identifier: Apache-2.0
 */
#ifndef STOS_H
#define STOS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the registers are reached, and what the platform has to do about caches. What is not needed
 * may be NULL, but for the first two. */
typedef struct {
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    /* What the machine is about to read has to be in memory; what it has written, to be seen. */
    void (*flush)(void *context, const void *address, size_t bytes);
    void (*invalidate)(void *context, void *address, size_t bytes);
    /* Called between two looks at the status: sleep, yield, or wait for the interrupt. */
    void (*pause)(void *context);
} stos_hooks;

typedef struct {
    const stos_hooks *hooks;
    void *context;
    uint16_t rows, cols;
    uint8_t st_os;     /* rows can run 1-D convolutions */
    uint32_t version;  /* major << 16 | minor << 8 | patch */
} stos_device;

/* 1 to 255 are codes of the machine, those below 0 are the driver's own. */
enum {
    STOS_OK = 0,
    STOS_ABORTED = 1,
    STOS_BAD_IMAGE = 2,
    STOS_ILLEGAL_JOB = 3,
    STOS_READ_ERROR = 4,
    STOS_WRITE_ERROR = 5,
    STOS_MISALIGNED = 6,
    STOS_NO_DEVICE = -1,
    STOS_OTHER_VERSION = -2,
    STOS_BUSY = -3,
    STOS_TIMEOUT = -4
};

typedef struct {
    uint64_t cycles;                                  /* of the last run, and of these: */
    uint64_t array, weights, activations, results;    /* busy, or waiting for what */
    uint64_t bytes_read, bytes_written;
} stos_counters;

/* Find the machine behind the hooks. */
int stos_init(stos_device *device, const stos_hooks *hooks, void *context);

/* Look at the first bytes of an image: whether it is one, of this version. Whether it is for this
 * very machine, the machine says. */
int stos_check(const stos_device *device, const void *image, size_t bytes);

/* Begin a run. All are addresses as the machine sees them; `image` is a multiple of 64. Memory that
 * is read has been flushed by the caller, with `stos_flush`. */
int stos_start(const stos_device *device, uint64_t image, uint64_t inputs, uint64_t outputs,
               uint64_t scratch);

/* Wait until the run has ended, or for `limit` looks at the status (0: for ever). Returns the code
 * of the run. */
int stos_wait(const stos_device *device, uint32_t limit);

/* End the run at the next safe point; `stos_wait` then returns STOS_ABORTED. */
void stos_abort(const stos_device *device);

/* Index of the job that the machine is at, or was at when it ended. */
uint32_t stos_job(const stos_device *device);

void stos_read_counters(const stos_device *device, stos_counters *counters);

void stos_flush(const stos_device *device, const void *address, size_t bytes);
void stos_invalidate(const stos_device *device, void *address, size_t bytes);

/* What a code means, in English. */
const char *stos_error(int code);

/* SOFTMAX of TensorFlow Lite for one row of int8 values, bit for bit: what the host does after the
 * last layer. `multiplier` and `shift` are those of beta * scale * 2^26 (stos_softmax_scale). The
 * result has scale 1/256 and zero point -128. */
void stos_softmax_scale(double beta_scale, int32_t *multiplier, int *shift);
void stos_softmax(const int8_t *x, int8_t *y, size_t classes, int32_t multiplier, int shift);

#ifdef __cplusplus
}
#endif
#endif
