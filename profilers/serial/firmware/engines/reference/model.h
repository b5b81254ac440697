// A loaded model: tensors with their place in the arena, operators with what was prepared for them.
#ifndef PERFSAGE_MODEL_H
#define PERFSAGE_MODEL_H
#include <cstdint>

#include "../../engine.h"
#include "tensorflow/lite/kernels/internal/types.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace perfsage {

constexpr int kMaxTensors = 1024, kMaxOperators = 512, kMaxDims = 6;
constexpr uint32_t kAlignment = 16;
#ifndef PERFSAGE_ARENA_BYTES
#define PERFSAGE_ARENA_BYTES (2u << 20)
#endif

struct Tensor {
  tflite::RuntimeShape shape;
  tflite::TensorType type;
  const tflite::QuantizationParameters* quantization;
  float scale;
  int32_t zero_point;
  uint32_t bytes;
  const uint8_t* constant;  // in the model, or null
  uint8_t* data;            // in the arena, or null
  int first, last;          // operators between which the data must live; last < first: never used

  template <class T>
  const T* in() const {
    return reinterpret_cast<const T*>(constant ? constant : data);
  }
  template <class T>
  T* out() const {
    return reinterpret_cast<T*>(data);
  }
  int dim(int i) const { return shape.Dims(i); }
  int rank() const { return shape.DimensionsCount(); }
};

struct Model {
  const tflite::SubGraph* graph = nullptr;
  const tflite::Model* file = nullptr;
  int tensor_count = 0, operator_count = 0;
  Tensor* tensors = nullptr;
  uint32_t head = 0, tail = 0;
};
extern Model model;

// Takes memory from the arena's end for as long as the model is loaded; null when there is none left.
void* persistent(uint32_t bytes);
// Memory behind the activations, for one operator at a time; null when there is too little.
void* scratch(uint32_t bytes);
// Places all activations, greedily by size, as TFLM's planner does; false when they do not fit.
bool plan_memory();

// One operator, as its kernel sees it.
struct Node {
  const tflite::Operator* op;
  void* prepared;

  const Tensor* input(int i) const {
    const bool there = op->inputs() && i < static_cast<int>(op->inputs()->size()) && op->inputs()->Get(i) >= 0;
    return there ? &model.tensors[op->inputs()->Get(i)] : nullptr;
  }
  int inputs() const { return op->inputs() ? op->inputs()->size() : 0; }
  Tensor& output() const { return model.tensors[op->outputs()->Get(0)]; }
};

// `prepare` returns null when all is well, or what the kernel cannot do; `invoke` runs it.
struct Kernel {
  tflite::BuiltinOperator code;
  const char* (*prepare)(Node& node);
  void (*invoke)(const Node& node);
};
const Kernel* find_kernel(tflite::BuiltinOperator code);
const Kernel* kernel_at(uint32_t index);

}  // namespace perfsage
#endif
