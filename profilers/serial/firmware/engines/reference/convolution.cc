// CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED on int8.
#include "kernels.h"
#include "quantize.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/conv.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/depthwise_conv.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/fully_connected.h"

namespace perfsage {
namespace {

struct Requantization {
  int32_t* multipliers;
  int32_t* shifts;
};

// One multiplier per output channel, from per-channel or per-tensor scales.
const char* requantize(const Node& node, int channels, Requantization* result) {
  const Tensor &input = *node.input(0), &weights = *node.input(1), &output = node.output();
  const auto* scales = weights.quantization ? weights.quantization->scale() : nullptr;
  if (!scales || (scales->size() != 1 && static_cast<int>(scales->size()) != channels)) return kBadShape;
  result->multipliers = static_cast<int32_t*>(persistent(4 * channels));
  result->shifts = static_cast<int32_t*>(persistent(4 * channels));
  if (!result->multipliers || !result->shifts) return kNoMemory;
  for (int i = 0; i < channels; i++) {
    const double scale = scales->Get(scales->size() > 1 ? i : 0);
    quantize_multiplier(static_cast<double>(input.scale) * scale / output.scale, result->multipliers + i,
                        result->shifts + i);
  }
  return nullptr;
}

bool usable(const Node& node, int rank) {
  const Tensor *input = node.input(0), *weights = node.input(1), *bias = node.input(2);
  return int8(input) && int8(weights) && weights->constant && int8(&node.output()) && weights->rank() == rank &&
         (rank == 2 || (input->rank() == 4 && node.output().rank() == 4)) &&
         (!bias || (is(bias, tflite::TensorType_INT32) && bias->constant));
}

const int32_t* bias_of(const Node& node) { return node.input(2) ? node.input(2)->in<int32_t>() : nullptr; }
tflite::RuntimeShape bias_shape(const Node& node) {
  return node.input(2) ? tflite::RuntimeShape(node.input(2)->shape) : tflite::RuntimeShape();
}

// Conv2DOptions and DepthwiseConv2DOptions, ConvParams and DepthwiseParams share these fields.
template <class Params, class Options>
void fill(const Node& node, const Options& options, Params* params) {
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  params->stride_height = options.stride_h();
  params->stride_width = options.stride_w();
  params->dilation_height_factor = options.dilation_h_factor();
  params->dilation_width_factor = options.dilation_w_factor();
  params->padding_values.height = padding_before(options.padding(), x.dim(1), y.dim(1), w.dim(1),
                                                 options.stride_h(), options.dilation_h_factor());
  params->padding_values.width = padding_before(options.padding(), x.dim(2), y.dim(2), w.dim(2),
                                                options.stride_w(), options.dilation_w_factor());
  params->input_offset = -x.zero_point;
  params->weights_offset = -w.zero_point;
  params->output_offset = y.zero_point;
  activation_range(options.fused_activation_function(), y, &params->quantized_activation_min,
                   &params->quantized_activation_max);
}

struct Conv {
  tflite::ConvParams params;
  Requantization requantization;
};

}  // namespace

const char* prepare_conv(Node& node) {
  const auto* options = node.op->builtin_options_as_Conv2DOptions();
  if (!options || !usable(node, 4)) return kOnlyInt8;
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  if (w.dim(0) != y.dim(3) || x.dim(3) % w.dim(3) || y.dim(3) % (x.dim(3) / w.dim(3))) return kBadShape;
  Conv* conv = prepared_as<Conv>(node);
  if (!conv) return kNoMemory;
  fill(node, *options, &conv->params);
  return requantize(node, y.dim(3), &conv->requantization);
}

void invoke_conv(const Node& node) {
  const Conv& conv = *static_cast<const Conv*>(node.prepared);
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  tflite::reference_integer_ops::ConvPerChannel(
      conv.params, conv.requantization.multipliers, conv.requantization.shifts, x.shape, x.in<int8_t>(), w.shape,
      w.in<int8_t>(), bias_shape(node), bias_of(node), y.shape, y.out<int8_t>());
}

namespace {
struct Depthwise {
  tflite::DepthwiseParams params;
  Requantization requantization;
};
}  // namespace

const char* prepare_depthwise(Node& node) {
  const auto* options = node.op->builtin_options_as_DepthwiseConv2DOptions();
  if (!options || !usable(node, 4)) return kOnlyInt8;
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  if (w.dim(3) != y.dim(3) || y.dim(3) % x.dim(3)) return kBadShape;
  Depthwise* depthwise = prepared_as<Depthwise>(node);
  if (!depthwise) return kNoMemory;
  fill(node, *options, &depthwise->params);
  // The file's own depth_multiplier is zero in models of some converters.
  depthwise->params.depth_multiplier = y.dim(3) / x.dim(3);
  return requantize(node, y.dim(3), &depthwise->requantization);
}

void invoke_depthwise(const Node& node) {
  const Depthwise& depthwise = *static_cast<const Depthwise*>(node.prepared);
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  tflite::reference_integer_ops::DepthwiseConvPerChannel(
      depthwise.params, depthwise.requantization.multipliers, depthwise.requantization.shifts, x.shape,
      x.in<int8_t>(), w.shape, w.in<int8_t>(), bias_shape(node), bias_of(node), y.shape, y.out<int8_t>());
}

namespace {
struct Dense {
  tflite::FullyConnectedParams params;
  Requantization requantization;
};
}  // namespace

const char* prepare_fully_connected(Node& node) {
  const auto* options = node.op->builtin_options_as_FullyConnectedOptions();
  if (!options || !usable(node, 2)) return kOnlyInt8;
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  if (options->weights_format() != tflite::FullyConnectedOptionsWeightsFormat_DEFAULT) return kOnlyInt8;
  if (x.shape.FlatSize() % w.dim(1) || y.shape.FlatSize() != x.shape.FlatSize() / w.dim(1) * w.dim(0))
    return kBadShape;
  Dense* dense = prepared_as<Dense>(node);
  if (!dense) return kNoMemory;
  dense->params.input_offset = -x.zero_point;
  dense->params.weights_offset = -w.zero_point;
  dense->params.output_offset = y.zero_point;
  activation_range(options->fused_activation_function(), y, &dense->params.quantized_activation_min,
                   &dense->params.quantized_activation_max);
  return requantize(node, w.dim(0), &dense->requantization);
}

void invoke_fully_connected(const Node& node) {
  const Dense& dense = *static_cast<const Dense*>(node.prepared);
  const Tensor &x = *node.input(0), &w = *node.input(1), &y = node.output();
  const tflite::RuntimeShape rows({y.shape.FlatSize() / w.dim(0), w.dim(0)});
  tflite::reference_integer_ops::FullyConnectedPerChannel(
      dense.params, dense.requantization.multipliers, reinterpret_cast<const int*>(dense.requantization.shifts),
      x.shape, x.in<int8_t>(), w.shape, w.in<int8_t>(), bias_shape(node), bias_of(node), rows, y.out<int8_t>());
}

}  // namespace perfsage
