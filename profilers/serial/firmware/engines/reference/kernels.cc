#include "kernels.h"

namespace perfsage {
namespace {

constexpr Kernel kKernels[] = {
    {tflite::BuiltinOperator_CONV_2D, prepare_conv, invoke_conv},
    {tflite::BuiltinOperator_DEPTHWISE_CONV_2D, prepare_depthwise, invoke_depthwise},
    {tflite::BuiltinOperator_FULLY_CONNECTED, prepare_fully_connected, invoke_fully_connected},
    {tflite::BuiltinOperator_ADD, prepare_add, invoke_add},
    {tflite::BuiltinOperator_SUB, prepare_sub, invoke_sub},
    {tflite::BuiltinOperator_MUL, prepare_mul, invoke_mul},
    {tflite::BuiltinOperator_AVERAGE_POOL_2D, prepare_average_pool, invoke_average_pool},
    {tflite::BuiltinOperator_MAX_POOL_2D, prepare_max_pool, invoke_max_pool},
    {tflite::BuiltinOperator_MEAN, prepare_mean, invoke_mean},
    {tflite::BuiltinOperator_SOFTMAX, prepare_softmax, invoke_softmax},
    {tflite::BuiltinOperator_LOGISTIC, prepare_logistic, invoke_logistic},
    {tflite::BuiltinOperator_RELU, prepare_relu, invoke_relu},
    {tflite::BuiltinOperator_RELU6, prepare_relu6, invoke_relu6},
    {tflite::BuiltinOperator_QUANTIZE, prepare_quantize, invoke_quantize},
    {tflite::BuiltinOperator_DEQUANTIZE, prepare_dequantize, invoke_dequantize},
    {tflite::BuiltinOperator_RESHAPE, prepare_reshape, invoke_reshape},
    {tflite::BuiltinOperator_SQUEEZE, prepare_reshape, invoke_reshape},
    {tflite::BuiltinOperator_EXPAND_DIMS, prepare_reshape, invoke_reshape},
    {tflite::BuiltinOperator_PAD, prepare_pad, invoke_pad},
    {tflite::BuiltinOperator_CONCATENATION, prepare_concatenation, invoke_concatenation},
};

}  // namespace

const Kernel* kernel_at(uint32_t index) {
  return index < sizeof kKernels / sizeof *kKernels ? &kKernels[index] : nullptr;
}

const Kernel* find_kernel(tflite::BuiltinOperator code) {
  for (const Kernel& kernel : kKernels)
    if (kernel.code == code) return &kernel;
  return nullptr;
}

}  // namespace perfsage
