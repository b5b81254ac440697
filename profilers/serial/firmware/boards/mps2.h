/* Where QEMU's MPS2 and MPS3 boards have their UART and memory; BOARD_AN547 is the only MPS3 board. */
#ifndef PERFSAGE_MPS2_H
#define PERFSAGE_MPS2_H

#ifdef BOARD_AN547
#define UART_BASE 0x49303000u
#define UART_RX_IRQ 33
#define CLOCK_HZ 32000000u
#define FLASH_BYTES (512u << 10)
#define RAM_BYTES (4u << 20)
#define STORE_BASE 0x60000000u
#elif defined(BOARD_AN500)
#define UART_BASE 0x40004000u
#define UART_RX_IRQ 0
#define CLOCK_HZ 25000000u
#define FLASH_BYTES (4u << 20)
#define RAM_BYTES (4u << 20)
#define STORE_BASE 0x60000000u
#else /* an385, an386 */
#define UART_BASE 0x40004000u
#define UART_RX_IRQ 0
#define CLOCK_HZ 25000000u
#define FLASH_BYTES (4u << 20)
#define RAM_BYTES (4u << 20)
#define STORE_BASE 0x21000000u
#endif
/* The board's PSRAM (DDR on the MPS3) stands for the flash in which a product keeps its model. */
#define STORE_BYTES (16u << 20)

#endif
