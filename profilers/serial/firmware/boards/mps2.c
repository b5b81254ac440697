/* QEMU's mps2-an385, mps2-an386, mps2-an500 and mps3-an547: start-up code and hardware layer.
 *
 * Run them with `-icount shift=0,sleep=off`: then one instruction takes one nanosecond of the board's time,
 * and a SysTick, which counts that time at CLOCK_HZ, counts instructions. (The DWT cycle counter reads zero.)
 * The timer is off while the board waits: it sleeps in WFI until the UART has a byte, and so does the host. */
#include "mps2.h"

#include <string.h>

#include "../hal.h"
#include "../protocol.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define UART_DATA REG(UART_BASE)
#define UART_STATE REG(UART_BASE + 0x4)
#define UART_CTRL REG(UART_BASE + 0x8)
#define UART_INTSTATUS REG(UART_BASE + 0xC)
#define UART_BAUDDIV REG(UART_BASE + 0x10)
#define UART_TX_FULL 1u
#define UART_RX_READY 2u
#define UART_RX_INTERRUPT 2u
#define SYST_CSR REG(0xE000E010)
#define SYST_RVR REG(0xE000E014)
#define SYST_CVR REG(0xE000E018)
#define NVIC_ISER(n) REG(0xE000E100 + 4 * (n))
#define NVIC_ICER(n) REG(0xE000E180 + 4 * (n))
#define NVIC_ICPR(n) REG(0xE000E280 + 4 * (n))
#define CPACR REG(0xE000ED88)
#define AIRCR REG(0xE000ED0C)
#define SYSTICK_RELOAD 0xFFFFFFu
#define STACK_PATTERN 0x5AA5C33Cu

extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _estack[], _code_bytes[];
extern void (*__init_array_start[])(void), (*__init_array_end[])(void);

const struct hal_info hal_info = {BOARD_NAME, "instructions", 1000000000u / (CLOCK_HZ / 1000u),
                                  CLOCK_HZ,   RAM_BYTES,      FLASH_BYTES};

static volatile uint32_t timer_wraps;

void SysTick_Handler(void) { timer_wraps++; }

/* A crash restarts the board, as a watchdog would. */
static void fault(void) {
  AIRCR = 0x05FA0004u;
  for (;;) {
  }
}

void abort(void) {
  fault();
  for (;;) {
  }
}

static void paint_stack(void) {
  uint32_t *here = (uint32_t *)__builtin_frame_address(0);
  for (volatile uint32_t *p = _ebss; p < here - 16; p++) *p = STACK_PATTERN;
}

static void start(void) {
  memset(_sbss, 0, (size_t)((char *)_ebss - (char *)_sbss));
  memcpy(_sdata, _sidata, (size_t)((char *)_edata - (char *)_sdata));
  paint_stack();
  hal_init();
  for (void (**f)(void) = __init_array_start; f < __init_array_end; f++) (*f)();
  protocol_run();
}

void Reset_Handler(void) {
  /* FPU and MVE on, before any code that may use their registers. */
  CPACR |= 0xFu << 20;
  __asm volatile("cpsid i\n dsb\n isb" ::: "memory");
  start();
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    _estack, Reset_Handler, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault,
    SysTick_Handler};

void hal_init(void) {
  UART_BAUDDIV = 16;
  UART_CTRL = 0x1 | 0x2 | 0x8; /* transmit, receive, receive interrupt */
  SYST_RVR = SYSTICK_RELOAD;
}

/* The UART's interrupt is enabled only here, where PRIMASK keeps its handler from being called: it ends the wait. */
int hal_getc(void) {
  const uint32_t interrupt = 1u << UART_RX_IRQ % 32;
  /* Within a command the next byte is near: waiting for it awake is far quicker than a WFI each. */
  for (int i = 0; i < 20000; i++)
    if (UART_STATE & UART_RX_READY) return (int)(UART_DATA & 0xFF);
  NVIC_ISER(UART_RX_IRQ / 32) = interrupt;
  while (!(UART_STATE & UART_RX_READY)) {
    UART_INTSTATUS = UART_RX_INTERRUPT;
    NVIC_ICPR(UART_RX_IRQ / 32) = interrupt;
    if (!(UART_STATE & UART_RX_READY)) __asm volatile("wfi");
  }
  NVIC_ICER(UART_RX_IRQ / 32) = interrupt;
  return (int)(UART_DATA & 0xFF);
}

void hal_putc(char c) {
  while (UART_STATE & UART_TX_FULL) {
  }
  UART_DATA = (uint8_t)c;
}

void hal_timer_start(void) {
  SYST_CVR = 0;
  SYST_CSR = 7;
  /* The first count after a reload is a wrap from zero; let it pass before anything is measured. */
  while (SYST_CVR == 0) {
  }
  __asm volatile("cpsie i" ::: "memory");
}

void hal_timer_stop(void) {
  __asm volatile("cpsid i" ::: "memory");
  SYST_CSR = 0;
}

uint64_t hal_ticks(void) {
  uint32_t wraps, count;
  do {
    wraps = timer_wraps;
    count = SYST_CVR;
  } while (wraps != timer_wraps);
  return (uint64_t)wraps * (SYSTICK_RELOAD + 1) + (SYSTICK_RELOAD - count);
}

uint64_t hal_micros(void) { return hal_ticks() / (CLOCK_HZ / 1000000u); }

void hal_timestamp_edge(void) {}

uint8_t *hal_model_store(uint32_t *bytes) {
  *bytes = STORE_BYTES;
  return (uint8_t *)STORE_BASE;
}

uint32_t hal_code_bytes(void) { return (uint32_t)(uintptr_t)_code_bytes; }

uint32_t hal_stack_bytes(void) {
  uint32_t *p = _ebss;
  while (p < _estack && *p == STACK_PATTERN) p++;
  return (uint32_t)((_estack - p) * 4);
}
