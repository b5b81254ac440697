# Builds benchmark_model against Debian's libtensorflow-lite; run in TensorFlow's source folder.
lite := tensorflow/lite
sources := \
  $(addprefix $(lite)/tools/benchmark/,benchmark_main.cc benchmark_model.cc benchmark_tflite_model.cc benchmark_utils.cc profiling_listener.cc) \
  $(addprefix $(lite)/tools/,command_line_flags.cc tool_params.cc utils.cc model_loader.cc) \
  $(addprefix $(lite)/tools/delegates/,delegate_provider.cc default_execution_provider.cc) \
  $(addprefix $(lite)/profiling/,memory_info.cc memory_usage_monitor.cc platform_profiler.cc profile_buffer.cc profile_summarizer.cc profile_summary_formatter.cc time.cc root_profiler.cc) \
  tensorflow/tsl/util/stats_calculator.cc
objects := $(sources:.cc=.o)
abseil := $(patsubst /usr/lib/x86_64-linux-gnu/lib%.so,-l%,$(filter-out %test%,$(wildcard /usr/lib/x86_64-linux-gnu/libabsl_*.so)))
CXXFLAGS := -std=c++17 -O2 -w -I. -I/usr/include/eigen3 -I/usr/include/gemmlowp \
  -include cstdint -include map -include string -include memory -include algorithm

benchmark_model: $(objects)
	g++ -o $@ $^ -ltensorflow-lite -lpthread -ldl -Wl,--start-group $(abseil) -Wl,--end-group
