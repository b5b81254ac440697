/* Framing and the MLPerf Tiny commands. Strings follow mlcommons/tiny, benchmark/api. */
#include "protocol.h"

#include <string.h>

#include "codec.h"
#include "engine.h"
#include "hal.h"

uint8_t protocol_input[PERFSAGE_INPUT_BYTES];
uint32_t protocol_input_bytes;
uint64_t protocol_window_ticks;
static uint32_t input_expected;

void protocol_text(const char *text) {
  while (*text) hal_putc(*text++);
}

void protocol_number(const char *before, uint64_t value, const char *after) {
  char digits[21], *p = digits + 20;
  *p = 0;
  do *--p = (char)('0' + value % 10);
  while (value /= 10);
  protocol_text(before);
  protocol_text(p);
  protocol_text(after);
}

void protocol_hex(const uint8_t *data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    hal_putc("0123456789abcdef"[data[i] >> 4]);
    hal_putc("0123456789abcdef"[data[i] & 15]);
  }
}

char *protocol_word(char **rest) {
  char *word = *rest;
  while (**rest && **rest != ' ') ++*rest;
  if (**rest) *(*rest)++ = 0;
  return word;
}

int protocol_is(const char *word, const char *name) { return strcmp(word, name) == 0; }

int32_t protocol_value(const char *word) {
  int64_t value = 0;
  if (!*word) return -1;
  for (; *word; word++) {
    if (*word < '0' || *word > '9' || value > INT32_MAX / 10) return -1;
    value = value * 10 + *word - '0';
  }
  return value > INT32_MAX ? -1 : (int32_t)value;
}

static void timestamp(void) {
  if (PERFSAGE_ENERGY_MODE)
    hal_timestamp_edge();
  else
    protocol_number("m-lap-us-", hal_micros() & 0xFFFFFFFFu, "\r\n");
}

static void input_load(char *rest) {
  char *word = protocol_word(&rest);
  int32_t bytes = protocol_value(word);
  protocol_input_bytes = 0;
  input_expected = 0;
  if (!*word) {
    protocol_text("e-[Command 'db load' requires the # of bytes]\r\n");
  } else if (bytes <= 0) {
    protocol_text("e-[Command 'db load' must be >0 bytes]\r\n");
  } else if (bytes > PERFSAGE_INPUT_BYTES) {
    protocol_number("e-[Supplied buffer size ", (uint64_t)bytes, " exceeds maximum of ");
    protocol_number("", PERFSAGE_INPUT_BYTES, "]\r\n");
  } else {
    input_expected = (uint32_t)bytes;
    protocol_number("m-[Expecting ", (uint64_t)bytes, " bytes]\r\n");
  }
}

static void input_bytes(const char *digits) {
  if (strlen(digits) % 2) {
    protocol_text("e-[Insufficent number of hex digits]\r\n");
    return;
  }
  for (; *digits && protocol_input_bytes < input_expected; digits += 2) {
    int high = codec_hex_digit(digits[0]), low = codec_hex_digit(digits[1]);
    if (high < 0 || low < 0) {
      protocol_text("e-[Invalid hex digit '");
      hal_putc(digits[0]);
      hal_putc(digits[1]);
      protocol_text("']\r\n");
      return;
    }
    protocol_input[protocol_input_bytes++] = (uint8_t)(high << 4 | low);
    if (protocol_input_bytes == input_expected) protocol_text("m-load-done\r\n");
  }
}

static void input_print(void) {
  for (uint32_t i = 0; i < protocol_input_bytes; i++) {
    protocol_text(i % 8 ? "-" : "m-buffer-");
    protocol_hex(protocol_input + i, 1);
    if (i % 8 == 7 || i + 1 == protocol_input_bytes) protocol_text("\r\n");
  }
}

static void input_command(char *rest) {
  char *word = protocol_word(&rest);
  if (!*word)
    protocol_text("e-[Command 'db' requires a subcommand]\r\n");
  else if (protocol_is(word, "load"))
    input_load(rest);
  else if (protocol_is(word, "print"))
    input_print();
  else
    input_bytes(word);
}

void protocol_fill_inputs(void) {
  struct engine_tensor tensor;
  uint32_t offset = 0;
  for (uint32_t i = 0; engine_input(i, &tensor) == 0; i++) {
    if (tensor.bytes > protocol_input_bytes - offset) return;
    memcpy(tensor.data, protocol_input + offset, tensor.bytes);
    offset += tensor.bytes;
  }
}

/* Three decimals, as the reference firmware prints; printf of small C libraries cannot print floats. */
static void print_value(float value) {
  int32_t thousandths = (int32_t)(value * 1000.0f + (value < 0 ? -0.5f : 0.5f));
  uint32_t size = (uint32_t)(thousandths < 0 ? -thousandths : thousandths), part = size % 1000;
  protocol_number(thousandths < 0 ? "-" : "", size / 1000, part < 10 ? ".00" : part < 100 ? ".0" : ".");
  protocol_number("", part, "");
}

static void results(void) {
  struct engine_tensor tensor;
  if (!engine_loaded() || engine_output(0, &tensor) != 0) {
    protocol_text("e-[px-model no model is loaded]\r\n");
    return;
  }
  protocol_text("m-results-[");
  for (uint32_t i = 0; i < tensor.elements; i++) {
    float value;
    if (tensor.scale == 0)
      memcpy(&value, tensor.data + 4 * i, 4);
    else
      value = tensor.scale * (float)((int8_t)tensor.data[i] - tensor.zero_point);
    if (i) hal_putc(',');
    print_value(value);
  }
  protocol_text("]\r\n");
}

static int run_many(int32_t count) {
  int status = 0;
  while (count-- > 0) status |= engine_invoke(0);
  return status;
}

static void window(int32_t iterations, int32_t warmups) {
  protocol_fill_inputs();
  protocol_number("m-warmup-start-", (uint64_t)warmups, "\r\n");
  int status = run_many(warmups);
  protocol_text("m-warmup-done\r\n");
  protocol_number("m-infer-start-", (uint64_t)iterations, "\r\n");
  hal_timer_start();
  timestamp();
  uint64_t begin = hal_ticks();
  status |= run_many(iterations);
  protocol_window_ticks = hal_ticks() - begin;
  timestamp();
  hal_timer_stop();
  if (status) protocol_text("e-[px-model the inference failed]\r\n");
  protocol_text("m-infer-done\r\n");
  results();
}

static void infer(char *rest) {
  char *first = protocol_word(&rest), *second = protocol_word(&rest);
  int32_t iterations = *first ? protocol_value(first) : 1, warmups = *second ? protocol_value(second) : 10;
  if (iterations <= 0)
    protocol_text("e-[Inference iterations must be >0]\r\n");
  else if (warmups < 0)
    protocol_text("e-[Inference warmup must be >=0]\r\n");
  else if (!engine_loaded())
    protocol_text("e-[px-model no model is loaded]\r\n");
  else
    window(iterations, warmups);
}

static void profile(void) {
  protocol_text("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[");
  protocol_text(extension_model());
  protocol_text("]\r\n");
}

static void run(char *command) {
  char *rest = command, *word = protocol_word(&rest);
  if (protocol_is(word, "name"))
    protocol_text("m-name-dut-[" PERFSAGE_VENDOR "]\r\n");
  else if (protocol_is(word, "profile"))
    profile();
  else if (protocol_is(word, "timestamp"))
    timestamp();
  else if (protocol_is(word, "db"))
    input_command(rest);
  else if (protocol_is(word, "infer"))
    infer(rest);
  else if (protocol_is(word, "results"))
    results();
  else if (protocol_is(word, "px"))
    extension_command(rest);
  else {
    protocol_text("e-[Unknown command: ");
    protocol_text(word);
    protocol_text("]\r\n");
  }
  protocol_text("m-ready\r\n");
}

void protocol_run(void) {
  static char command[PERFSAGE_COMMAND_CHARS + 1];
  uint32_t length = 0;
  protocol_text(PERFSAGE_ENERGY_MODE ? "m-timestamp-mode-energy\r\n" : "m-timestamp-mode-performance\r\n");
  if (!PERFSAGE_ENERGY_MODE) timestamp();
  protocol_text("m-init-done\r\nm-ready\r\n");
  for (;;) {
    char c = (char)hal_getc();
    if (c == '%') {
      command[length] = 0;
      length = 0;
      run(command);
    } else if (length < PERFSAGE_COMMAND_CHARS) {
      command[length++] = c;
    }
  }
}
