/* The upload extension: `px` commands. */
#include <string.h>

#include "codec.h"
#include "engine.h"
#include "hal.h"
#include "protocol.h"

#define LINE_BYTES 32
#define MAX_OPERATORS 512

static char model_hash[65], loaded_hash[17] = "none";
static uint32_t model_bytes, model_have;

const char *extension_model(void) { return loaded_hash; }

static void refuse(const char *kind, const char *text) {
  protocol_text("e-[");
  protocol_text(kind);
  protocol_text(" ");
  protocol_text(text);
  protocol_text("]\r\n");
}

static void operators(void) {
  const char *name;
  for (uint32_t i = 0; (name = engine_operator(i)) != 0; i++) {
    protocol_text(i % 8 ? "," : "m-px-operators-[");
    protocol_text(name);
    if (i % 8 == 7 || engine_operator(i + 1) == 0) protocol_text("]\r\n");
  }
}

static void info(void) {
  uint32_t store;
  struct engine_arena arena;
  hal_model_store(&store);
  engine_memory(&arena);
  protocol_text("m-px-version-1\r\nm-px-board-[");
  protocol_text(hal_info.board);
  protocol_text("]\r\nm-px-engine-[");
  protocol_text(engine_name());
  protocol_text("]\r\nm-px-tick-[");
  protocol_text(hal_info.tick_unit);
  protocol_number("]\r\nm-px-units-per-kilotick-", hal_info.units_per_1000_ticks, "\r\n");
  protocol_number("m-px-clock-hz-", hal_info.clock_hz, "\r\n");
  protocol_number("m-px-command-chars-", PERFSAGE_COMMAND_CHARS, "\r\n");
  protocol_number("m-px-model-max-bytes-", store, "\r\n");
  protocol_number("m-px-arena-max-bytes-", arena.limit, "\r\n");
  protocol_number("m-px-input-max-bytes-", PERFSAGE_INPUT_BYTES, "\r\n");
  protocol_number("m-px-ram-bytes-", hal_info.ram_bytes, "\r\n");
  protocol_number("m-px-flash-bytes-", hal_info.flash_bytes, "\r\n");
  protocol_number("m-px-code-bytes-", hal_code_bytes(), "\r\n");
  operators();
}

static void begin(char *rest) {
  uint32_t store;
  hal_model_store(&store);
  int32_t bytes = protocol_value(protocol_word(&rest));
  char *hash = protocol_word(&rest);
  if (bytes <= 0 || (uint32_t)bytes > store || strlen(hash) != 64) {
    protocol_number("e-[px-size at most ", store, " bytes]\r\n");
    return;
  }
  if ((uint32_t)bytes != model_bytes || strcmp(hash, model_hash) != 0) model_have = 0;
  model_bytes = (uint32_t)bytes;
  strcpy(model_hash, hash);
  protocol_number("m-px-at-", model_have, "\r\n");
}

static void put(char *rest) {
  uint32_t store, crc = 0;
  uint8_t *model = hal_model_store(&store);
  int32_t offset = protocol_value(protocol_word(&rest));
  char *crc_text = protocol_word(&rest), *text = protocol_word(&rest);
  int32_t bytes = codec_base64(text, (uint8_t *)text);
  int bad = bytes < 0 || strlen(crc_text) != 8;
  for (char *p = crc_text; *p && !bad; p++) {
    bad = codec_hex_digit(*p) < 0;
    crc = crc << 4 | (uint32_t)codec_hex_digit(*p);
  }
  if (bad || codec_crc32((uint8_t *)text, (uint32_t)bytes) != crc) {
    refuse("px-chunk", "damaged");
  } else if (offset < 0 || (uint32_t)offset != model_have || (uint32_t)bytes > model_bytes - model_have) {
    protocol_number("e-[px-chunk not there but at ", model_have, "]\r\n");
  } else {
    /* A model that is being replaced must not be run any more. */
    if (offset == 0) engine_build(0, 0, 0);
    memcpy(model + offset, text, (uint32_t)bytes);
    model_have += (uint32_t)bytes;
    protocol_number("m-px-at-", model_have, "\r\n");
  }
}

static void end(void) {
  uint32_t store;
  uint8_t *model = hal_model_store(&store);
  char hash[65];
  struct engine_error error;
  codec_sha256(model, model_have, hash);
  if (model_have != model_bytes || strcmp(hash, model_hash) != 0) {
    model_have = 0;
    hash[16] = 0;
    refuse("px-hash", hash);
    return;
  }
  if (engine_build(model, model_bytes, &error) != 0) {
    refuse(error.kind, error.text);
    return;
  }
  memcpy(loaded_hash, hash, 16);
  protocol_text("m-px-model-[");
  protocol_text(loaded_hash);
  protocol_text("]\r\n");
}

static void memory(void) {
  struct engine_arena arena;
  if (!engine_loaded()) {
    refuse("px-model", "no model is loaded");
    return;
  }
  engine_memory(&arena);
  protocol_number("m-px-arena-bytes-", arena.total, "\r\n");
  protocol_number("m-px-arena-head-bytes-", arena.head, "\r\n");
  protocol_number("m-px-arena-tail-bytes-", arena.tail, "\r\n");
  protocol_number("m-px-stack-bytes-", hal_stack_bytes(), "\r\n");
}

static uint32_t operator_ticks[MAX_OPERATORS];
static uint32_t operator_count;
static uint64_t operator_begin;

static void count_operator(uint32_t subgraph, uint32_t index, int done) {
  if (subgraph != 0 || index >= MAX_OPERATORS) return;
  if (!done) {
    operator_begin = hal_ticks();
    return;
  }
  operator_ticks[index] = (uint32_t)(hal_ticks() - operator_begin);
  if (index + 1 > operator_count) operator_count = index + 1;
}

static void ops(void) {
  if (!engine_loaded()) {
    refuse("px-model", "no model is loaded");
    return;
  }
  operator_count = 0;
  protocol_fill_inputs();
  hal_timer_start();
  engine_invoke(count_operator);
  hal_timer_stop();
  for (uint32_t i = 0; i < operator_count; i++) {
    protocol_number("m-px-op-0-", i, "-");
    protocol_number("", operator_ticks[i], "\r\n");
  }
}

static void output(char *rest) {
  struct engine_tensor tensor;
  int32_t index = protocol_value(protocol_word(&rest));
  if (index < 0 || !engine_loaded() || engine_output((uint32_t)index, &tensor) != 0) {
    refuse("px-output", "there is no such output");
    return;
  }
  protocol_number("m-px-output-bytes-", tensor.bytes, "\r\n");
  for (uint32_t i = 0; i < tensor.bytes; i += LINE_BYTES) {
    protocol_text("m-px-out-");
    protocol_hex(tensor.data + i, tensor.bytes - i < LINE_BYTES ? tensor.bytes - i : LINE_BYTES);
    protocol_text("\r\n");
  }
}

static void checksum(void) {
  uint32_t crc = codec_crc32(protocol_input, protocol_input_bytes);
  uint8_t big_endian[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
  protocol_text("m-px-crc-");
  protocol_hex(big_endian, 4);
  protocol_text("\r\n");
}

void extension_command(char *rest) {
  char *word = protocol_word(&rest);
  if (protocol_is(word, "info"))
    info();
  else if (protocol_is(word, "begin"))
    begin(rest);
  else if (protocol_is(word, "put"))
    put(rest);
  else if (protocol_is(word, "end"))
    end();
  else if (protocol_is(word, "memory"))
    memory();
  else if (protocol_is(word, "ticks"))
    protocol_number("m-px-ticks-", protocol_window_ticks, "\r\n");
  else if (protocol_is(word, "ops"))
    ops();
  else if (protocol_is(word, "crc"))
    checksum();
  else if (protocol_is(word, "output"))
    output(rest);
  else
    refuse("px-command", word);
}
