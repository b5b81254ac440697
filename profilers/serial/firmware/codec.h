/* Checksums and encodings of the upload extension. */
#ifndef PERFSAGE_CODEC_H
#define PERFSAGE_CODEC_H
#include <stdint.h>

uint32_t codec_crc32(const uint8_t *data, uint32_t bytes);
/* Decodes `text` in place at `out` (which may be `text`); returns the bytes, or -1 when it is not base64. */
int32_t codec_base64(const char *text, uint8_t *out);
/* Writes 64 lower-case digits and a zero. */
void codec_sha256(const uint8_t *data, uint32_t bytes, char *hex);
/* Returns 0..15, or -1. */
int codec_hex_digit(char c);
#endif
