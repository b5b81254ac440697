/* Times a .tflite on a Linux board that has no benchmark_model, through the C API of LiteRT's libLiteRt.so.
 *
 *   cc -O2 -o board_runner board_runner.c -ldl
 *   board_runner --library=./libLiteRt.so --graph=m.tflite --num_runs=50 --min_secs=1 --warmup_runs=1
 *
 * Prints what benchmark_model prints, with the time of every run added. Inputs are random bytes below 64,
 * unknown dimensions are 1. The library is opened at run time, so nothing is needed to compile.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef void *Handle;
enum { MAX_TENSORS = 64, MAX_SAMPLES = 1 << 20, TENSOR_TYPE_WORDS = 128, RANK_BITS = 127, CPU = 1, WRITE = 1 };

static void *library;

static void fail(const char *what, int status) {
    fprintf(stderr, "ERROR: %s failed with status %d\nERROR: Benchmarking failed.\n", what, status);
    exit(1);
}

static void *symbol(const char *name) {
    void *found = dlsym(library, name);
    if (!found) fail(name, -1);
    return found;
}

/* CALL(Name, types..., arguments...): every function of the API returns a status, 0 when all is well. */
#define CALL(name, types, arguments)                                    \
    do {                                                                \
        int status_ = ((int(*) types)symbol("LiteRt" #name)) arguments; \
        if (status_) fail(#name, status_);                              \
    } while (0)

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double peak_rss_mb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024.0;
}

static Handle environment, model, options, compiled, signature;
static Handle inputs[MAX_TENSORS], outputs[MAX_TENSORS];
static size_t n_inputs, n_outputs;

static Handle make_buffer(size_t index, int is_output) {
    Handle tensor, needs, buffer;
    /* LiteRtRankedTensorType: element type, rank in the low 7 bits, then the dimensions. */
    uint32_t type[TENSOR_TYPE_WORDS] = {0};
    if (is_output) {
        CALL(GetSignatureOutputTensorByIndex, (Handle, size_t, Handle *), (signature, index, &tensor));
        CALL(GetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *), (compiled, 0, index, &needs));
    } else {
        CALL(GetSignatureInputTensorByIndex, (Handle, size_t, Handle *), (signature, index, &tensor));
        CALL(GetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *), (compiled, 0, index, &needs));
    }
    CALL(GetRankedTensorType, (Handle, void *), (tensor, type));
    for (unsigned d = 0; d < (type[1] & RANK_BITS); d++)
        if ((int32_t)type[2 + d] < 0) type[2 + d] = 1;
    CALL(CreateManagedTensorBufferFromRequirements, (Handle, const void *, Handle, Handle *),
         (environment, type, needs, &buffer));
    return buffer;
}

static void fill(Handle buffer) {
    void *data;
    size_t bytes;
    CALL(GetTensorBufferPackedSize, (Handle, size_t *), (buffer, &bytes));
    CALL(LockTensorBuffer, (Handle, void **, int), (buffer, &data, WRITE));
    for (size_t i = 0; i < bytes; i++) ((char *)data)[i] = rand() & 63;
    CALL(UnlockTensorBuffer, (Handle), (buffer));
}

static void load(const char *path) {
    CALL(CreateEnvironment, (int, const void *, Handle *), (0, NULL, &environment));
    CALL(CreateModelFromFile, (Handle, const char *, Handle *), (environment, path, &model));
    CALL(CreateOptions, (Handle *), (&options));
    CALL(SetOptionsHardwareAccelerators, (Handle, int), (options, CPU));
    CALL(CreateCompiledModel, (Handle, Handle, Handle, Handle *), (environment, model, options, &compiled));
    CALL(GetModelSignature, (Handle, size_t, Handle *), (model, 0, &signature));
    CALL(GetNumSignatureInputs, (Handle, size_t *), (signature, &n_inputs));
    CALL(GetNumSignatureOutputs, (Handle, size_t *), (signature, &n_outputs));
    if (n_inputs > MAX_TENSORS || n_outputs > MAX_TENSORS) fail("a signature of more than 64 tensors", -1);
    for (size_t i = 0; i < n_inputs; i++) inputs[i] = make_buffer(i, 0);
    for (size_t i = 0; i < n_outputs; i++) outputs[i] = make_buffer(i, 1);
    for (size_t i = 0; i < n_inputs; i++) fill(inputs[i]);
}

static double samples[MAX_SAMPLES];

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs at least `runs` times and `seconds` long; returns the mean in microseconds. */
static double measure(long runs, double seconds, double max_seconds, int print_samples, double *first) {
    printf("INFO: Running benchmark for at least %ld iterations and at least %g seconds but terminate if exceeding %g seconds.\n",
           runs, seconds, max_seconds);
    fflush(stdout);
    double begin = now_us(), sum = 0;
    long n = 0;
    while (n < MAX_SAMPLES && (n < runs || now_us() - begin < seconds * 1e6) && now_us() - begin < max_seconds * 1e6) {
        double start = now_us();
        CALL(RunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *),
             (compiled, 0, n_inputs, inputs, n_outputs, outputs));
        samples[n] = now_us() - start;
        sum += samples[n++];
    }
    if (!n) return 0;
    if (first) *first = samples[0];
    if (print_samples) {
        long shown = n < 1000 ? n : 1000;
        printf("INFO: count=%ld first=%.3f curr=%.3f", n, samples[0], samples[n - 1]);
        double mean = sum / n, variance = 0;
        for (long i = 0; i < n; i++) variance += (samples[i] - mean) * (samples[i] - mean) / n;
        double std = variance; /* square root by Newton's method: keeps the program free of libm */
        for (int i = 0; i < 60 && std > 0; i++) std = (std + variance / std) / 2;
        static double sorted[MAX_SAMPLES];
        memcpy(sorted, samples, n * sizeof *samples);
        qsort(sorted, n, sizeof *sorted, ascending);
        printf(" min=%.3f max=%.3f avg=%.3f std=%.3f p5=%.3f median=%.3f p95=%.3f\n", sorted[0], sorted[n - 1], mean, std,
               sorted[n * 5 / 100], sorted[n / 2], sorted[n * 95 / 100]);
        printf("INFO: samples_us=");
        for (long i = 0; i < shown; i++) printf("%s%.3f", i ? "," : "", samples[i]);
        printf("\n");
    } else {
        printf("INFO: count=%ld\n", n);
    }
    fflush(stdout);
    return sum / n;
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    size_t length = strlen(name);
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], name, length) && argv[i][length] == '=') return argv[i] + length + 1;
    return otherwise;
}

int main(int argc, char **argv) {
    const char *path = option(argc, argv, "--library", "./libLiteRt.so");
    library = dlopen(path, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "ERROR: %s\nERROR: Benchmarking failed.\n", dlerror());
        return 1;
    }
    const char *graph = option(argc, argv, "--graph", NULL);
    if (!graph) fail("--graph=FILE is missing", -1);
    double rss_before = peak_rss_mb(), begin = now_us(), first = 0;
    load(graph);
    double init = now_us() - begin, rss_loaded = peak_rss_mb();
    double limit = atof(option(argc, argv, "--max_secs", "150"));
    double warmup = measure(atol(option(argc, argv, "--warmup_runs", "1")),
                            atof(option(argc, argv, "--warmup_min_secs", "0.5")), limit, 0, &first);
    double mean = measure(atol(option(argc, argv, "--num_runs", "50")), atof(option(argc, argv, "--min_secs", "1")), limit, 1, NULL);
    printf("INFO: Inference timings in us: Init: %.0f, First inference: %.3f, Warmup (avg): %.3f, Inference (avg): %.3f\n", init,
           first, warmup, mean);
    printf("INFO: Memory footprint delta from the start of the tool (MB): init=%g overall=%g\n", rss_loaded - rss_before,
           peak_rss_mb() - rss_before);
    printf("INFO: Overall peak memory footprint (MB) via periodic monitoring: %g\n", peak_rss_mb());
    return 0;
}
