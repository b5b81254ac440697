// AVERAGE_POOL_2D, MAX_POOL_2D and MEAN on int8.
#include "kernels.h"
#include "quantize.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/pooling.h"
#include "tensorflow/lite/kernels/internal/reference/reduce.h"

namespace perfsage {
namespace {

const char* prepare_pool(Node& node) {
  const auto* options = node.op->builtin_options_as_Pool2DOptions();
  const Tensor *x = node.input(0), &y = node.output();
  if (!options || !int8(x) || !int8(&y)) return kOnlyInt8;
  if (x->rank() != 4 || y.rank() != 4 || x->dim(3) != y.dim(3)) return kBadShape;
  auto* params = prepared_as<tflite::PoolParams>(node);
  if (!params) return kNoMemory;
  params->stride_height = options->stride_h();
  params->stride_width = options->stride_w();
  params->filter_height = options->filter_height();
  params->filter_width = options->filter_width();
  params->padding_values.height = padding_before(options->padding(), x->dim(1), y.dim(1),
                                                 options->filter_height(), options->stride_h(), 1);
  params->padding_values.width = padding_before(options->padding(), x->dim(2), y.dim(2), options->filter_width(),
                                                options->stride_w(), 1);
  activation_range(options->fused_activation_function(), y, &params->quantized_activation_min,
                   &params->quantized_activation_max);
  return nullptr;
}

const tflite::PoolParams& pool_params(const Node& node) {
  return *static_cast<const tflite::PoolParams*>(node.prepared);
}

struct Mean {
  int32_t multiplier, shift;
  int axes[kMaxDims], axis_count;
  int32_t* sums;
};

}  // namespace

const char* prepare_average_pool(Node& node) { return prepare_pool(node); }
const char* prepare_max_pool(Node& node) { return prepare_pool(node); }

void invoke_average_pool(const Node& node) {
  const Tensor &x = *node.input(0), &y = node.output();
  tflite::reference_integer_ops::AveragePool(pool_params(node), x.shape, x.in<int8_t>(), y.shape,
                                             y.out<int8_t>());
}

void invoke_max_pool(const Node& node) {
  const Tensor &x = *node.input(0), &y = node.output();
  tflite::reference_integer_ops::MaxPool(pool_params(node), x.shape, x.in<int8_t>(), y.shape, y.out<int8_t>());
}

const char* prepare_mean(Node& node) {
  const Tensor *x = node.input(0), *axes = node.input(1), &y = node.output();
  if (!int8(x) || !int8(&y) || !is(axes, tflite::TensorType_INT32) || !axes->constant) return kOnlyInt8;
  Mean* mean = prepared_as<Mean>(node);
  if (!mean) return kNoMemory;
  mean->axis_count = axes->shape.FlatSize();
  if (mean->axis_count > kMaxDims) return kBadShape;
  for (int i = 0; i < mean->axis_count; i++) {
    const int axis = axes->in<int32_t>()[i];
    mean->axes[i] = axis < 0 ? axis + x->rank() : axis;
    if (mean->axes[i] < 0 || mean->axes[i] >= x->rank()) return kBadShape;
  }
  quantize_multiplier(static_cast<double>(x->scale) / y.scale, &mean->multiplier, &mean->shift);
  mean->sums = static_cast<int32_t*>(persistent(4 * y.shape.FlatSize()));
  return mean->sums ? nullptr : kNoMemory;
}

void invoke_mean(const Node& node) {
  const Mean& mean = *static_cast<const Mean*>(node.prepared);
  const Tensor &x = *node.input(0), &y = node.output();
  int index[kMaxDims], resolved[kMaxDims];
  tflite::reference_ops::QuantizedMeanOrSum<int8_t, int32_t>(
      x.in<int8_t>(), x.zero_point, reinterpret_cast<const int*>(x.shape.DimsData()), x.rank(), y.out<int8_t>(),
      mean.multiplier, mean.shift, y.zero_point, reinterpret_cast<const int*>(y.shape.DimsData()), y.rank(),
      mean.axes, mean.axis_count, false, index, resolved, mean.sums, false);
}

}  // namespace perfsage
