/* What a board must offer: a UART, a timer, a pin, and a place for the model. One file in boards/ each. */
#ifndef PERFSAGE_HAL_H
#define PERFSAGE_HAL_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

struct hal_info {
  const char *board;
  const char *tick_unit; /* "cycles" on silicon, "instructions" on an emulator that counts them */
  uint32_t units_per_1000_ticks;
  uint32_t clock_hz;
  uint32_t ram_bytes;
  uint32_t flash_bytes;
};
extern const struct hal_info hal_info;

void hal_init(void);
/* Waits for a byte; may sleep. */
int hal_getc(void);
void hal_putc(char c);

/* The timer need only run between these two. */
void hal_timer_start(void);
void hal_timer_stop(void);
/* Never steps back; 64 bits, so that no window wraps. */
uint64_t hal_ticks(void);
uint64_t hal_micros(void);
/* Energy mode: pull the timestamp pin low for at least 1 us. */
void hal_timestamp_edge(void);

/* Where an uploaded model goes, aligned to 16 bytes. */
uint8_t *hal_model_store(uint32_t *bytes);
uint32_t hal_code_bytes(void);
/* Deepest use of the stack since boot, in bytes. */
uint32_t hal_stack_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
