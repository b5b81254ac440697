// RESHAPE, SQUEEZE, EXPAND_DIMS, PAD and CONCATENATION.
#include <cstring>

#include "kernels.h"
#include "quantize.h"
#include "tensorflow/lite/kernels/internal/reference/concatenation.h"
#include "tensorflow/lite/kernels/internal/reference/pad.h"

namespace perfsage {

const char* prepare_reshape(Node& node) {
  const Tensor* x = node.input(0);
  return x && x->bytes == node.output().bytes ? nullptr : kBadShape;
}

void invoke_reshape(const Node& node) {
  std::memmove(node.output().data, node.input(0)->in<uint8_t>(), node.output().bytes);
}

const char* prepare_pad(Node& node) {
  const Tensor *x = node.input(0), *paddings = node.input(1), &y = node.output();
  if (!int8(x) || !int8(&y) || !is(paddings, tflite::TensorType_INT32) || !paddings->constant) return kOnlyInt8;
  if (x->rank() > 4 || y.rank() != x->rank() || paddings->shape.FlatSize() != 2 * x->rank()) return kBadShape;
  auto* params = prepared_as<tflite::PadParams>(node);
  if (!params) return kNoMemory;
  params->left_padding_count = params->right_padding_count = x->rank();
  for (int i = 0; i < x->rank(); i++) {
    params->left_padding[i] = paddings->in<int32_t>()[2 * i];
    params->right_padding[i] = paddings->in<int32_t>()[2 * i + 1];
    if (params->left_padding[i] < 0 || params->right_padding[i] < 0 ||
        x->dim(i) + params->left_padding[i] + params->right_padding[i] != y.dim(i))
      return kBadShape;
  }
  return nullptr;
}

void invoke_pad(const Node& node) {
  const Tensor &x = *node.input(0), &y = node.output();
  const int8_t zero = static_cast<int8_t>(y.zero_point);
  tflite::reference_ops::Pad(*static_cast<const tflite::PadParams*>(node.prepared), x.shape, x.in<int8_t>(),
                             &zero, y.shape, y.out<int8_t>());
}

namespace {
constexpr int kMaxParts = 16;
}

const char* prepare_concatenation(Node& node) {
  const auto* options = node.op->builtin_options_as_ConcatenationOptions();
  const Tensor& y = node.output();
  if (!options || !int8(&y) || node.inputs() > kMaxParts) return kOnlyInt8;
  if (options->fused_activation_function() != tflite::ActivationFunctionType_NONE) return kOnlyInt8;
  auto* params = prepared_as<tflite::ConcatenationParams>(node);
  if (!params) return kNoMemory;
  params->axis = options->axis() < 0 ? options->axis() + y.rank() : options->axis();
  params->inputs_count = node.inputs();
  if (params->axis < 0 || params->axis >= y.rank()) return kBadShape;
  int along = 0;
  for (int i = 0; i < node.inputs(); i++) {
    const Tensor* x = node.input(i);
    if (!int8(x) || x->scale != y.scale || x->zero_point != y.zero_point) return "joins tensors of unequal scales";
    if (x->rank() != y.rank()) return kBadShape;
    for (int d = 0; d < y.rank(); d++)
      if (d != params->axis && x->dim(d) != y.dim(d)) return kBadShape;
    along += x->dim(params->axis);
  }
  return along == y.dim(params->axis) ? nullptr : kBadShape;
}

void invoke_concatenation(const Node& node) {
  const tflite::RuntimeShape* shapes[kMaxParts];
  const int8_t* parts[kMaxParts];
  for (int i = 0; i < node.inputs(); i++) {
    shapes[i] = &node.input(i)->shape;
    parts[i] = node.input(i)->in<int8_t>();
  }
  const Tensor& y = node.output();
  tflite::reference_ops::Concatenation(*static_cast<const tflite::ConcatenationParams*>(node.prepared), shapes,
                                       parts, y.shape, y.out<int8_t>());
}

}  // namespace perfsage
