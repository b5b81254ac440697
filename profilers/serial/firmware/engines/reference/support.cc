// The few functions that TFLite 2.14's kernel headers declare and its library, which is not built for
// microcontrollers, defines.
#include <algorithm>
#include <cstring>

#include "tensorflow/lite/kernels/internal/common.h"
#include "tensorflow/lite/kernels/internal/runtime_shape.h"

namespace tflite {

int32_t MultiplyByQuantizedMultiplier(int32_t x, int32_t multiplier, int shift) {
  const int32_t left = std::max(shift, 0), right = std::max(-shift, 0);
  const int32_t high = gemmlowp::SaturatingRoundingDoublingHighMul(x * (int32_t{1} << left), multiplier);
  return gemmlowp::RoundingDivideByPOT(high, right);
}

// For 48-bit accumulators: the multiplier is rounded to 16 bits, the product once.
int32_t MultiplyByQuantizedMultiplier(int64_t x, int32_t multiplier, int shift) {
  const int32_t half = multiplier < 0x7FFF0000 ? (multiplier + (1 << 15)) >> 16 : 0x7FFF;
  const int bits = 15 - shift;
  return static_cast<int32_t>((x * half + (int64_t{1} << (bits - 1))) >> bits);
}

// The engine refuses tensors of more than six dimensions, so that shapes never allocate.
RuntimeShape::~RuntimeShape() {}

int32_t RuntimeShape::Dims(int i) const { return dims_[i]; }

void RuntimeShape::ReplaceWith(int count, const int32_t* data) {
  Resize(count);
  std::memcpy(DimsData(), data, count * sizeof(int32_t));
}

int RuntimeShape::FlatSize() const {
  int size = 1;
  for (int i = 0; i < size_; i++) size *= dims_[i];
  return size;
}

}  // namespace tflite
