// SOFTMAX, LOGISTIC, RELU, RELU6, QUANTIZE and DEQUANTIZE.
#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "quantize.h"
#include "tensorflow/lite/kernels/internal/reference/dequantize.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/logistic.h"
#include "tensorflow/lite/kernels/internal/reference/quantize.h"
#include "tensorflow/lite/kernels/internal/reference/requantize.h"
#include "tensorflow/lite/kernels/internal/reference/softmax.h"

namespace perfsage {
namespace {

struct Scaling {
  int32_t multiplier, shift, low, high;
};

bool same_size(const Node& node) { return node.input(0)->shape.FlatSize() == node.output().shape.FlatSize(); }

// y = clamp(requantize(x)): RELU and RELU6 with scales of their own.
const char* prepare_clamp(Node& node, tflite::ActivationFunctionType activation) {
  if (!int8(node.input(0)) || !int8(&node.output())) return kOnlyInt8;
  if (!same_size(node)) return kBadShape;
  Scaling* scaling = prepared_as<Scaling>(node);
  if (!scaling) return kNoMemory;
  quantize_multiplier(static_cast<double>(node.input(0)->scale) / node.output().scale, &scaling->multiplier,
                      &scaling->shift);
  activation_range(activation, node.output(), &scaling->low, &scaling->high);
  return nullptr;
}

}  // namespace

const char* prepare_softmax(Node& node) {
  const auto* options = node.op->builtin_options_as_SoftmaxOptions();
  if (!options || !int8(node.input(0)) || !int8(&node.output())) return kOnlyInt8;
  if (!same_size(node)) return kBadShape;
  auto* params = prepared_as<tflite::SoftmaxParams>(node);
  if (!params) return kNoMemory;
  *params = tflite::SoftmaxParams{};
  // The kernel's fixed point has 5 integer bits.
  const double scaled = static_cast<double>(options->beta()) * node.input(0)->scale * (1 << 26);
  int32_t shift;
  quantize_multiplier(std::min(scaled, (int64_t{1} << 31) - 1.0), &params->input_multiplier, &shift);
  params->input_left_shift = shift;
  params->diff_min = -static_cast<int32_t>(std::floor(31.0 * (1 << 26) / (int64_t{1} << shift)));
  return nullptr;
}

void invoke_softmax(const Node& node) {
  const auto& params = *static_cast<const tflite::SoftmaxParams*>(node.prepared);
  const Tensor &x = *node.input(0), &y = node.output();
  tflite::reference_ops::Softmax(params, x.shape, x.in<int8_t>(), y.shape, y.out<int8_t>());
}

const char* prepare_logistic(Node& node) {
  if (!int8(node.input(0)) || !int8(&node.output())) return kOnlyInt8;
  if (!same_size(node)) return kBadShape;
  Scaling* scaling = prepared_as<Scaling>(node);
  if (!scaling) return kNoMemory;
  quantize_multiplier(static_cast<double>(node.input(0)->scale) * (1 << 27), &scaling->multiplier,
                      &scaling->shift);
  scaling->high = input_radius(scaling->shift);
  return nullptr;
}

void invoke_logistic(const Node& node) {
  const Scaling& scaling = *static_cast<const Scaling*>(node.prepared);
  const Tensor &x = *node.input(0), &y = node.output();
  tflite::reference_integer_ops::Logistic(x.zero_point, scaling.high, scaling.multiplier, scaling.shift,
                                          x.shape.FlatSize(), x.in<int8_t>(), y.out<int8_t>());
}

const char* prepare_relu(Node& node) { return prepare_clamp(node, tflite::ActivationFunctionType_RELU); }
const char* prepare_relu6(Node& node) { return prepare_clamp(node, tflite::ActivationFunctionType_RELU6); }

void invoke_relu(const Node& node) {
  const Scaling& scaling = *static_cast<const Scaling*>(node.prepared);
  const Tensor &x = *node.input(0), &y = node.output();
  const int size = x.shape.FlatSize();
  for (int i = 0; i < size; i++) {
    const int32_t value = y.zero_point + tflite::MultiplyByQuantizedMultiplier(
                                             x.in<int8_t>()[i] - x.zero_point, scaling.multiplier, scaling.shift);
    y.out<int8_t>()[i] = static_cast<int8_t>(std::min(std::max(value, scaling.low), scaling.high));
  }
}

void invoke_relu6(const Node& node) { invoke_relu(node); }

const char* prepare_quantize(Node& node) {
  const Tensor *x = node.input(0), &y = node.output();
  if (!int8(&y) || !(int8(x) || is(x, tflite::TensorType_FLOAT32))) return kOnlyInt8;
  if (!same_size(node)) return kBadShape;
  Scaling* scaling = prepared_as<Scaling>(node);
  if (!scaling) return kNoMemory;
  if (int8(x))
    quantize_multiplier(static_cast<double>(x->scale) / y.scale, &scaling->multiplier, &scaling->shift);
  return nullptr;
}

void invoke_quantize(const Node& node) {
  const Scaling& scaling = *static_cast<const Scaling*>(node.prepared);
  const Tensor &x = *node.input(0), &y = node.output();
  if (int8(&x)) {
    tflite::reference_ops::Requantize(x.in<int8_t>(), x.shape.FlatSize(), scaling.multiplier, scaling.shift,
                                      x.zero_point, y.zero_point, y.out<int8_t>());
    return;
  }
  tflite::QuantizationParams params{};
  params.zero_point = y.zero_point;
  params.scale = y.scale;
  tflite::reference_ops::AffineQuantize(params, x.shape, x.in<float>(), y.shape, y.out<int8_t>());
}

const char* prepare_dequantize(Node& node) {
  if (!int8(node.input(0)) || !is(&node.output(), tflite::TensorType_FLOAT32)) return kOnlyInt8;
  return same_size(node) ? nullptr : kBadShape;
}

void invoke_dequantize(const Node& node) {
  const Tensor &x = *node.input(0), &y = node.output();
  tflite::DequantizationParams params{};
  params.zero_point = x.zero_point;
  params.scale = x.scale;
  tflite::reference_ops::Dequantize(params, x.shape, x.in<int8_t>(), y.shape, y.out<float>());
}

}  // namespace perfsage
