/* What runs a model. engines/reference uses TFLite's reference kernels; TFLM with CMSIS-NN fits here too. */
#ifndef PERFSAGE_ENGINE_H
#define PERFSAGE_ENGINE_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Why a model was refused: `kind` is px-model, px-operator or px-arena; an operator's text begins with its name. */
struct engine_error {
  const char *kind;
  char text[128];
};

struct engine_tensor {
  uint8_t *data;
  uint32_t bytes;
  uint32_t elements;
  float scale; /* 0 when the elements are float32 */
  int32_t zero_point;
};

struct engine_arena {
  uint32_t total;
  uint32_t head; /* activations */
  uint32_t tail; /* persistent structures */
  uint32_t limit;
};

/* Called before (done = 0) and after (done = 1) each operator. */
typedef void (*engine_hook)(uint32_t subgraph, uint32_t index, int done);

const char *engine_name(void);
/* Names of the operators that the engine has, one an index; NULL past the last. */
const char *engine_operator(uint32_t index);

/* `model` must stay where it is; a null one forgets what is loaded. Returns 0, or fills `error`. */
int engine_build(const uint8_t *model, uint32_t bytes, struct engine_error *error);
int engine_loaded(void);
int engine_invoke(engine_hook hook);
/* Return 0 and fill `tensor`, or -1 when there is none of that index. */
int engine_input(uint32_t index, struct engine_tensor *tensor);
int engine_output(uint32_t index, struct engine_tensor *tensor);
void engine_memory(struct engine_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
