// Turning real scales into the integers that the kernels take, as TFLite's own preparation does.
#ifndef PERFSAGE_QUANTIZE_H
#define PERFSAGE_QUANTIZE_H
#include "model.h"

namespace perfsage {

// value = multiplier * 2^(shift - 31), with multiplier in [2^30, 2^31), or both zero.
struct Fixed {
  int32_t multiplier;
  int shift;
};
Fixed fixed_point(double value);
// TFLite's parameters hold shifts as int or as int32_t, which is long to this compiler.
template <class Int>
void quantize_multiplier(double value, int32_t* multiplier, Int* shift) {
  const Fixed fixed = fixed_point(value);
  *multiplier = fixed.multiplier;
  *shift = fixed.shift;
}
// The range of the output that a fused activation leaves.
void activation_range(tflite::ActivationFunctionType activation, const Tensor& output, int32_t* low, int32_t* high);
// Half of SAME's padding before the first element; zero for VALID.
int padding_before(tflite::Padding padding, int in, int out, int kernel, int stride, int dilation);
// The largest input, in steps of its scale, that a kernel with 4 integer bits can tell apart.
int input_radius(int left_shift);

inline bool is(const Tensor* tensor, tflite::TensorType type) { return tensor && tensor->type == type; }
inline bool int8(const Tensor* tensor) {
  return is(tensor, tflite::TensorType_INT8) && tensor->scale > 0;
}

// Takes the memory for what an operator needs at run time.
template <class T>
T* prepared_as(Node& node) {
  node.prepared = persistent(sizeof(T));
  return static_cast<T*>(node.prepared);
}

constexpr const char* kNoMemory = "memory";
constexpr const char* kOnlyInt8 = "takes only int8 here";
constexpr const char* kBadShape = "has shapes that do not fit together";

}  // namespace perfsage
#endif
