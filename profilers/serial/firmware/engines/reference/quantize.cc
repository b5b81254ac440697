#include "quantize.h"

#include <algorithm>
#include <cmath>

namespace perfsage {

Fixed fixed_point(double value) {
  int exponent = 0;
  int64_t fixed = static_cast<int64_t>(std::round(std::frexp(value, &exponent) * (int64_t{1} << 31)));
  if (fixed == int64_t{1} << 31) {
    fixed /= 2;
    exponent++;
  }
  if (exponent < -31) fixed = exponent = 0;
  return {static_cast<int32_t>(fixed), exponent};
}

void activation_range(tflite::ActivationFunctionType activation, const Tensor& output, int32_t* low, int32_t* high) {
  const auto quantized = [&](float real) {
    return output.zero_point + static_cast<int32_t>(std::round(real / output.scale));
  };
  *low = -128;
  *high = 127;
  if (activation == tflite::ActivationFunctionType_RELU || activation == tflite::ActivationFunctionType_RELU6)
    *low = std::max(*low, quantized(0));
  if (activation == tflite::ActivationFunctionType_RELU6) *high = std::min(*high, quantized(6));
  if (activation == tflite::ActivationFunctionType_RELU_N1_TO_1) {
    *low = std::max(*low, quantized(-1));
    *high = std::min(*high, quantized(1));
  }
}

int padding_before(tflite::Padding padding, int in, int out, int kernel, int stride, int dilation) {
  if (padding != tflite::Padding_SAME) return 0;
  return std::max((out - 1) * stride + (kernel - 1) * dilation + 1 - in, 0) / 2;
}

int input_radius(int left_shift) {
  return static_cast<int>(std::floor(15.0 * (int64_t{1} << 27) / (int64_t{1} << left_shift)));
}

}  // namespace perfsage
