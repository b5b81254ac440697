// The kernels of this firmware, two functions each; the table is in kernels.cc.
#ifndef PERFSAGE_KERNELS_H
#define PERFSAGE_KERNELS_H
#include "model.h"

namespace perfsage {

#define PERFSAGE_KERNEL(name)           \
  const char* prepare_##name(Node& node); \
  void invoke_##name(const Node& node);

PERFSAGE_KERNEL(conv)
PERFSAGE_KERNEL(depthwise)
PERFSAGE_KERNEL(fully_connected)
PERFSAGE_KERNEL(add)
PERFSAGE_KERNEL(sub)
PERFSAGE_KERNEL(mul)
PERFSAGE_KERNEL(average_pool)
PERFSAGE_KERNEL(max_pool)
PERFSAGE_KERNEL(mean)
PERFSAGE_KERNEL(softmax)
PERFSAGE_KERNEL(logistic)
PERFSAGE_KERNEL(relu)
PERFSAGE_KERNEL(relu6)
PERFSAGE_KERNEL(quantize)
PERFSAGE_KERNEL(dequantize)
PERFSAGE_KERNEL(reshape)
PERFSAGE_KERNEL(pad)
PERFSAGE_KERNEL(concatenation)

#undef PERFSAGE_KERNEL

}  // namespace perfsage
#endif
