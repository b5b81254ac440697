// ADD, SUB and MUL on int8, with broadcasting up to four dimensions.
#include <algorithm>

#include "kernels.h"
#include "quantize.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/add.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/mul.h"
#include "tensorflow/lite/kernels/internal/reference/process_broadcast_shapes.h"

namespace perfsage {
namespace {

using Params = tflite::ArithmeticParams;

// What all three need: types, offsets, range, and whether shapes must be stretched.
const char* prepare_binary(Node& node, tflite::ActivationFunctionType activation, Params** result) {
  const Tensor *a = node.input(0), *b = node.input(1), &y = node.output();
  if (!int8(a) || !int8(b) || !int8(&y)) return kOnlyInt8;
  if (a->rank() > 4 || b->rank() > 4 || y.rank() > 4) return kBadShape;
  Params* params = *result = prepared_as<Params>(node);
  if (!params) return kNoMemory;
  *params = Params{};
  params->input1_offset = -a->zero_point;
  params->input2_offset = -b->zero_point;
  params->output_offset = y.zero_point;
  activation_range(activation, y, &params->quantized_activation_min, &params->quantized_activation_max);
  tflite::reference_ops::ProcessBroadcastShapes(a->shape, b->shape, params);
  return nullptr;
}

bool broadcasts(const Node& node) { return !(node.input(0)->shape == node.input(1)->shape); }

// Both inputs are brought to twice the larger scale, with 20 bits to spare.
void sum_multipliers(const Node& node, Params* params) {
  const double a = node.input(0)->scale, b = node.input(1)->scale, twice = 2 * std::max(a, b);
  params->left_shift = 20;
  quantize_multiplier(a / twice, &params->input1_multiplier, &params->input1_shift);
  quantize_multiplier(b / twice, &params->input2_multiplier, &params->input2_shift);
  quantize_multiplier(twice / ((1 << params->left_shift) * static_cast<double>(node.output().scale)),
                      &params->output_multiplier, &params->output_shift);
}

}  // namespace

const char* prepare_add(Node& node) {
  const auto* options = node.op->builtin_options_as_AddOptions();
  Params* params;
  const char* reason = prepare_binary(
      node, options ? options->fused_activation_function() : tflite::ActivationFunctionType_NONE, &params);
  if (!reason) sum_multipliers(node, params);
  return reason;
}

const char* prepare_sub(Node& node) {
  const auto* options = node.op->builtin_options_as_SubOptions();
  Params* params;
  const char* reason = prepare_binary(
      node, options ? options->fused_activation_function() : tflite::ActivationFunctionType_NONE, &params);
  if (reason) return reason;
  sum_multipliers(node, params);
  params->input2_multiplier = -params->input2_multiplier;
  return nullptr;
}

void invoke_add(const Node& node) {
  const Params& params = *static_cast<const Params*>(node.prepared);
  const Tensor &a = *node.input(0), &b = *node.input(1), &y = node.output();
  if (broadcasts(node))
    tflite::reference_integer_ops::BroadcastAdd4DSlow(params, a.shape, a.in<int8_t>(), b.shape, b.in<int8_t>(),
                                                      y.shape, y.out<int8_t>());
  else
    tflite::reference_integer_ops::Add(params, a.shape, a.in<int8_t>(), b.shape, b.in<int8_t>(), y.shape,
                                       y.out<int8_t>());
}

void invoke_sub(const Node& node) { invoke_add(node); }

const char* prepare_mul(Node& node) {
  const auto* options = node.op->builtin_options_as_MulOptions();
  Params* params;
  const char* reason = prepare_binary(
      node, options ? options->fused_activation_function() : tflite::ActivationFunctionType_NONE, &params);
  if (reason) return reason;
  const double product = static_cast<double>(node.input(0)->scale) * node.input(1)->scale;
  quantize_multiplier(product / node.output().scale, &params->output_multiplier, &params->output_shift);
  return nullptr;
}

void invoke_mul(const Node& node) {
  const Params& params = *static_cast<const Params*>(node.prepared);
  const Tensor &a = *node.input(0), &b = *node.input(1), &y = node.output();
  if (broadcasts(node))
    tflite::reference_integer_ops::BroadcastMul4DSlow(params, a.shape, a.in<int8_t>(), b.shape, b.in<int8_t>(),
                                                      y.shape, y.out<int8_t>());
  else
    tflite::reference_integer_ops::Mul(params, a.shape, a.in<int8_t>(), b.shape, b.in<int8_t>(), y.shape,
                                       y.out<int8_t>());
}

}  // namespace perfsage
