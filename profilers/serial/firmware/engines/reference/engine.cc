// Reads a .tflite file, prepares its operators and runs them one after another.
#include "../../engine.h"

#include <algorithm>
#include <cstring>

#include "model.h"

namespace perfsage {
Model model;

namespace {

struct Prepared {
  const Kernel* kernel;
  void* data;
};
Prepared* prepared;
bool loaded;

int refuse(engine_error* error, const char* kind, const char* text, const char* more = "") {
  error->kind = kind;
  std::strncpy(error->text, text, sizeof error->text - 1);
  error->text[sizeof error->text - 1] = 0;
  std::strncat(error->text, " ", sizeof error->text - std::strlen(error->text) - 1);
  std::strncat(error->text, more, sizeof error->text - std::strlen(error->text) - 1);
  return -1;
}

tflite::BuiltinOperator code_of(const tflite::Operator* op) {
  const auto* code = model.file->operator_codes()->Get(op->opcode_index());
  return std::max(code->builtin_code(), static_cast<tflite::BuiltinOperator>(code->deprecated_builtin_code()));
}

const char* name_of(const tflite::Operator* op) {
  const auto* code = model.file->operator_codes()->Get(op->opcode_index());
  if (code_of(op) == tflite::BuiltinOperator_CUSTOM && code->custom_code()) return code->custom_code()->c_str();
  return tflite::EnumNameBuiltinOperator(code_of(op));
}

uint32_t element_bytes(tflite::TensorType type) {
  switch (type) {
    case tflite::TensorType_FLOAT32:
    case tflite::TensorType_INT32:
      return 4;
    case tflite::TensorType_INT16:
      return 2;
    case tflite::TensorType_INT64:
      return 8;
    case tflite::TensorType_INT8:
    case tflite::TensorType_UINT8:
    case tflite::TensorType_BOOL:
      return 1;
    default:
      return 0;
  }
}

bool read_tensor(const tflite::Tensor* source, Tensor& tensor) {
  int32_t dims[kMaxDims] = {0};
  const int rank = source->shape() ? source->shape()->size() : 0;
  uint64_t bytes = element_bytes(source->type());
  if (rank > kMaxDims || bytes == 0 || source->buffer() >= model.file->buffers()->size()) return false;
  for (int i = 0; i < rank; i++) {
    dims[i] = source->shape()->Get(i);
    if (dims[i] <= 0 || (bytes *= dims[i]) > (1u << 30)) return false;
  }
  tensor.shape.ReplaceWith(rank, dims);
  tensor.type = source->type();
  tensor.quantization = source->quantization();
  const auto* q = source->quantization();
  tensor.scale = q && q->scale() && q->scale()->size() ? q->scale()->Get(0) : 0;
  tensor.zero_point = q && q->zero_point() && q->zero_point()->size() ? q->zero_point()->Get(0) : 0;
  tensor.bytes = static_cast<uint32_t>(bytes);
  const auto* data = model.file->buffers()->Get(source->buffer())->data();
  tensor.constant = data && data->size() ? data->data() : nullptr;
  tensor.data = nullptr;
  tensor.first = model.operator_count;
  tensor.last = -1;
  return !tensor.constant || data->size() >= tensor.bytes;
}

bool valid_indices(const flatbuffers::Vector<int32_t>* indices, bool optional) {
  if (!indices) return optional;
  for (const int32_t i : *indices)
    if (i >= model.tensor_count || i < (optional ? -1 : 0)) return false;
  return true;
}

// Inputs of the graph live from the start, its outputs to the end, all others from writer to last reader.
bool find_lifetimes() {
  if (!valid_indices(model.graph->inputs(), false) || !valid_indices(model.graph->outputs(), false)) return false;
  for (const int i : *model.graph->inputs()) model.tensors[i].first = model.tensors[i].last = 0;
  for (int n = 0; n < model.operator_count; n++) {
    const auto* op = model.graph->operators()->Get(n);
    if (!valid_indices(op->inputs(), true) || !valid_indices(op->outputs(), false)) return false;
    if (!op->outputs()->size() || op->opcode_index() >= model.file->operator_codes()->size()) return false;
    if (op->inputs())
      for (const int i : *op->inputs())
        if (i >= 0) model.tensors[i].last = std::max(model.tensors[i].last, n);
    for (const int i : *op->outputs()) {
      if (model.tensors[i].constant) return false;
      model.tensors[i].first = std::min(model.tensors[i].first, n);
      model.tensors[i].last = std::max(model.tensors[i].last, n);
    }
  }
  for (const int i : *model.graph->outputs()) model.tensors[i].last = model.operator_count;
  return true;
}

int read_file(const uint8_t* data, uint32_t bytes, engine_error* error) {
  // Depth and table limits keep the check itself bounded.
  flatbuffers::Verifier verifier(data, bytes, 32, 100000);
  if (!tflite::VerifyModelBuffer(verifier)) return refuse(error, "px-model", "the file is damaged");
  model.file = tflite::GetModel(data);
  const auto* graphs = model.file->subgraphs();
  if (!graphs || graphs->size() != 1 || !model.file->buffers() || !model.file->operator_codes())
    return refuse(error, "px-model", "the file must hold exactly one subgraph");
  model.graph = graphs->Get(0);
  if (!model.graph->tensors() || !model.graph->operators() || !model.graph->inputs() || !model.graph->outputs())
    return refuse(error, "px-model", "the subgraph is empty");
  model.tensor_count = model.graph->tensors()->size();
  model.operator_count = model.graph->operators()->size();
  if (model.tensor_count > kMaxTensors || model.operator_count > kMaxOperators)
    return refuse(error, "px-model", "too many tensors or operators");
  return 0;
}

int read_tensors(engine_error* error) {
  model.tensors = static_cast<Tensor*>(persistent(sizeof(Tensor) * model.tensor_count));
  prepared = static_cast<Prepared*>(persistent(sizeof(Prepared) * model.operator_count));
  if (!model.tensors || !prepared) return refuse(error, "px-arena", "too small for the tensors");
  for (int i = 0; i < model.tensor_count; i++) {
    new (&model.tensors[i].shape) tflite::RuntimeShape();
    const auto* source = model.graph->tensors()->Get(i);
    if (!read_tensor(source, model.tensors[i]))
      return refuse(error, "px-model", "a tensor's type, rank or size is not supported:",
                    source->name() ? source->name()->c_str() : "");
  }
  return find_lifetimes() ? 0 : refuse(error, "px-model", "an operator's tensors are wrong");
}

int prepare_operators(engine_error* error) {
  for (int n = 0; n < model.operator_count; n++) {
    Node node{model.graph->operators()->Get(n), nullptr};
    prepared[n].kernel = find_kernel(code_of(node.op));
    if (!prepared[n].kernel) return refuse(error, "px-operator", name_of(node.op), "is not in this firmware");
    if (const char* reason = prepared[n].kernel->prepare(node)) {
      const bool memory = std::strcmp(reason, "memory") == 0;
      return memory ? refuse(error, "px-arena", "too small for the prepared operators")
                    : refuse(error, "px-operator", name_of(node.op), reason);
    }
    prepared[n].data = node.prepared;
  }
  return 0;
}

int get(const flatbuffers::Vector<int32_t>* indices, uint32_t index, engine_tensor* result) {
  if (!loaded || index >= indices->size()) return -1;
  const Tensor& tensor = model.tensors[indices->Get(index)];
  const bool real = tensor.type == tflite::TensorType_FLOAT32;
  *result = {tensor.data, tensor.bytes, tensor.bytes / element_bytes(tensor.type), real ? 0 : tensor.scale,
             tensor.zero_point};
  return 0;
}

}  // namespace
}  // namespace perfsage

using namespace perfsage;

extern "C" {

const char* engine_name(void) { return "tflite-reference 2.14.1"; }

const char* engine_operator(uint32_t index) {
  const Kernel* kernel = kernel_at(index);
  return kernel ? tflite::EnumNameBuiltinOperator(kernel->code) : nullptr;
}

int engine_build(const uint8_t* data, uint32_t bytes, engine_error* error) {
  loaded = false;
  model = Model();
  if (!data) return -1;
  if (read_file(data, bytes, error) || read_tensors(error) || prepare_operators(error)) return -1;
  if (!plan_memory()) return refuse(error, "px-arena", "too small for the activations");
  loaded = true;
  return 0;
}

int engine_loaded(void) { return loaded; }

int engine_invoke(engine_hook hook) {
  if (!loaded) return -1;
  for (int n = 0; n < model.operator_count; n++) {
    const Node node{model.graph->operators()->Get(n), prepared[n].data};
    if (hook) hook(0, n, 0);
    prepared[n].kernel->invoke(node);
    if (hook) hook(0, n, 1);
  }
  return 0;
}

int engine_input(uint32_t index, engine_tensor* tensor) {
  return loaded ? get(model.graph->inputs(), index, tensor) : -1;
}

int engine_output(uint32_t index, engine_tensor* tensor) {
  return loaded ? get(model.graph->outputs(), index, tensor) : -1;
}

void engine_memory(engine_arena* arena) {
  *arena = {model.head + model.tail, model.head, model.tail, PERFSAGE_ARENA_BYTES};
}
}
