/* The MLPerf Tiny device-under-test protocol and the upload extension (docs/serial-protocol.md). */
#ifndef PERFSAGE_PROTOCOL_H
#define PERFSAGE_PROTOCOL_H
#include <stdint.h>

/* Longest command without its `%`. Boards with little RAM may set it lower, down to 160. */
#ifndef PERFSAGE_COMMAND_CHARS
#define PERFSAGE_COMMAND_CHARS 2048
#endif
/* Largest input of all tensors together. */
#ifndef PERFSAGE_INPUT_BYTES
#define PERFSAGE_INPUT_BYTES (200 * 1024)
#endif
/* 1: timestamps are edges on a pin. 0: timestamps are lines. */
#ifndef PERFSAGE_ENERGY_MODE
#define PERFSAGE_ENERGY_MODE 0
#endif
#ifndef PERFSAGE_VENDOR
#define PERFSAGE_VENDOR "perfsage"
#endif

/* Prints the banner and answers commands for ever. */
void protocol_run(void);

/* Shared with the extension. */
void protocol_text(const char *text);
void protocol_number(const char *before, uint64_t value, const char *after);
void protocol_hex(const uint8_t *data, uint32_t bytes);
/* Cuts the next word off *rest; returns "" at the end. */
char *protocol_word(char **rest);
int protocol_is(const char *word, const char *name);
/* Returns the number that `word` is, or -1. */
int32_t protocol_value(const char *word);
extern uint8_t protocol_input[PERFSAGE_INPUT_BYTES];
extern uint32_t protocol_input_bytes;
void protocol_fill_inputs(void);
extern uint64_t protocol_window_ticks;

/* Answers `px ...`. */
void extension_command(char *rest);
/* What `profile` calls the network. */
const char *extension_model(void);
#endif
