// The arena: persistent structures from its end, activations from its start.
#include <algorithm>

#include "model.h"

namespace perfsage {
namespace {

alignas(kAlignment) uint8_t arena[PERFSAGE_ARENA_BYTES];

uint32_t aligned(uint32_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }

bool together(const Tensor& a, const Tensor& b) { return a.first <= b.last && b.first <= a.last; }

// The lowest gap between the tensors placed so far that live at the same time.
uint32_t lowest_gap(const Tensor& tensor, const int16_t* placed, int count) {
  uint32_t start = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (int i = 0; i < count; i++) {
      const Tensor& other = model.tensors[placed[i]];
      const uint32_t begin = other.data - arena, end = begin + aligned(other.bytes);
      if (together(tensor, other) && start < end && begin < start + aligned(tensor.bytes)) {
        start = end;
        moved = true;
      }
    }
  }
  return start;
}

}  // namespace

void* persistent(uint32_t bytes) {
  const uint32_t needed = aligned(bytes);
  if (needed > PERFSAGE_ARENA_BYTES - model.tail - model.head) return nullptr;
  model.tail += needed;
  return arena + PERFSAGE_ARENA_BYTES - model.tail;
}

void* scratch(uint32_t bytes) {
  return bytes <= PERFSAGE_ARENA_BYTES - model.tail - model.head ? arena + model.head : nullptr;
}

// Larger tensors first, of equal ones the later: TFLM's order, on which the plan's size depends.
bool plan_memory() {
  static int16_t order[kMaxTensors];
  int count = 0;
  for (int i = 0; i < model.tensor_count; i++)
    if (!model.tensors[i].constant && model.tensors[i].last >= model.tensors[i].first) order[count++] = i;
  std::sort(order, order + count, [](int a, int b) {
    const uint32_t left = aligned(model.tensors[a].bytes), right = aligned(model.tensors[b].bytes);
    return left != right ? left > right : a > b;
  });
  for (int i = 0; i < count; i++) {
    Tensor& tensor = model.tensors[order[i]];
    const uint32_t start = lowest_gap(tensor, order, i), end = start + aligned(tensor.bytes);
    if (end > PERFSAGE_ARENA_BYTES - model.tail) return false;
    tensor.data = arena + start;
    model.head = std::max(model.head, end);
  }
  return true;
}

}  // namespace perfsage
