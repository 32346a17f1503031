// A CUDA driver without a GPU: device memory is host memory, and what is asked for is written to a log.
//
// Copies from page-locked memory and kernels wait in a queue until somebody waits for them, as on a GPU that
// is slow; copies from other memory are made at once. A module is text, "entry size size ...": a kernel and
// the bytes of each parameter. A kernel named copy copies: target, source (u64), bytes (u32). Calls fail as
// stub_fail says. fake_driver.py is the same in Python: keep the lines of the logs equal.
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Result;
enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, NO_DEVICE = 100, INVALID_DEVICE, NO_CONTEXT = 201,
       BAD_HANDLE = 400, NOT_FOUND = 500 };
enum { PARAMS = 128, NODES = 256, BLOCKS = 4096, QUEUE = 1 << 16 };

static struct { int devices, version, major, minor, shared; size_t memory; } gpu = {1, 13000, 9, 0, 232448, 1 << 30};
static struct { char name[64]; int code, times; } failing;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int owner;  // the process that called cuInit
static _Thread_local int depth;

// ---- log
static char *text;
static size_t used, room;
static int quiet;
static void note(const char *format, ...) {
    va_list args;
    if (quiet) return;
    if (room - used < 1 << 16) text = realloc(text, room = 2 * room + (1 << 17));
    va_start(args, format);
    used += vsnprintf(text + used, room - used, format, args);
    va_end(args);
}

// ---- control, called by the tests
void stub_quiet(int on) { quiet = on; }  // to time the calls, not the log
void stub_gpu(int devices, int version, int major, int minor, int shared, size_t memory) {
    gpu.devices = devices, gpu.version = version, gpu.major = major, gpu.minor = minor;
    gpu.shared = shared, gpu.memory = memory;
}
void stub_fail(const char *name, int code, int times) {
    snprintf(failing.name, sizeof failing.name, "%s", name), failing.code = code, failing.times = times;
}
const char *stub_log(void) { note("%s", ""); return text; }
void stub_clear(void) { used = 0; note("%s", ""); text[0] = 0; }
int stub_depth(void) { return depth; }

// ---- objects
typedef struct { char kind[12]; int id, alive; } Object;
typedef struct { Object o; char entry[128]; int count, sizes[PARAMS]; } Module;  // and its only function
typedef struct { Module *function; unsigned grid[3], block[3], shared; unsigned char bytes[PARAMS][128]; } Launch;
typedef struct { Object o; Launch launch; } Node;
typedef struct { Object o; int count; Node *nodes[NODES]; } Graph;
typedef struct { Object o; int count; Node *nodes[NODES]; Launch *launches[NODES]; } Exec;
typedef struct { Object o; long mark; } Event;
typedef struct {  // CUDA_KERNEL_NODE_PARAMS_v2
    Module *function; unsigned grid[3], block[3], shared; void **params, **extra; void *kernel, *context;
} Params;
static int ids[8];
static const char *kinds[] = {"context", "stream", "module", "graph", "node", "exec", "event", "default"};
static void *make(int kind, size_t size) {
    Object *o = calloc(1, size);
    strcpy(o->kind, kinds[kind]), o->id = ++ids[kind], o->alive = 1;
    return o;
}
static Object nothing = {"default", 0, 1};
static Object *named(void *p) { return p ? p : &nothing; }
#define NAME(p) named(p)->kind, named(p)->id

// ---- memory and work that waits
static struct { void *address; size_t bytes; int pinned; } blocks[BLOCKS];
static struct { char *target; const char *source; size_t bytes; } queue[QUEUE];
static long first, last;
static size_t taken(void) {
    size_t sum = 0;
    for (int i = 0; i < BLOCKS; i++) if (blocks[i].address && !blocks[i].pinned) sum += blocks[i].bytes;
    return sum;
}
static Result allocate(void **out, size_t bytes, int pinned) {
    if (!pinned && bytes > gpu.memory - taken()) return OUT_OF_MEMORY;
    for (int i = 0; i < BLOCKS; i++)
        if (!blocks[i].address) {
            if (posix_memalign(out, 512, bytes + 512)) return OUT_OF_MEMORY;
            memset(*out, 0xFF, bytes);
            blocks[i].address = *out, blocks[i].bytes = bytes, blocks[i].pinned = pinned;
            return OK;
        }
    return OUT_OF_MEMORY;
}
static int held(const void *p, size_t bytes, int pinned) {
    for (int i = 0; i < BLOCKS; i++) {
        const char *start = blocks[i].address;
        if (start && blocks[i].pinned == pinned && (const char *)p >= start && (const char *)p + bytes <= start + blocks[i].bytes)
            return i + 1;
    }
    return 0;
}
static void later(void *target, const void *source, size_t bytes) {
    queue[last % QUEUE].target = target, queue[last % QUEUE].source = source, queue[last++ % QUEUE].bytes = bytes;
}
static int waits(const char *p, size_t bytes) {  // to be copied from there
    for (long i = first; i < last; i++)
        if (queue[i % QUEUE].source >= p && queue[i % QUEUE].source < p + bytes) return 1;
    return 0;
}
static void drain(long until) {
    for (; first < until; first++)
        memcpy(queue[first % QUEUE].target, queue[first % QUEUE].source, queue[first % QUEUE].bytes);
}

void stub_forget(void) { memset(blocks, 0, sizeof blocks), first = last; }

// ---- functions: CALL begins one, checks that there is a context, and lets it fail if a test says so
static Result enter(const char *name, int context) {
    pthread_mutex_lock(&mutex);
    if (failing.times && (!strcmp(failing.name, name) || (!strcmp(failing.name, "*") && strncmp(name, "cuCtxP", 6)))) {
        failing.times -= failing.times > 0;
        return failing.code;
    }
    if (strcmp(name, "cuInit") && strcmp(name, "cuDriverGetVersion") && owner != getpid()) return NOT_INITIALIZED;
    return context && !depth ? NO_CONTEXT : OK;
}
static Result leave(Result code) { pthread_mutex_unlock(&mutex); return code; }
#define BODY(context, ...) { Result r = enter(__func__, context); if (!r) { __VA_ARGS__ } return leave(r); }
#define CALL(name, ...) Result name(__VA_ARGS__)
#define NEED(condition, code) if (!(condition)) return leave(code);

CALL(cuInit, unsigned flags) BODY(0, note("cuInit\n"); NEED(!owner || owner == getpid(), NOT_INITIALIZED) NEED(gpu.devices, NO_DEVICE) owner = getpid();)
CALL(cuDriverGetVersion, int *v) BODY(0, *v = gpu.version;)
CALL(cuDeviceGetCount, int *n) BODY(0, *n = gpu.devices;)
CALL(cuDeviceGet, int *d, int i) BODY(0, NEED(i >= 0 && i < gpu.devices, INVALID_DEVICE) *d = i;)
CALL(cuDeviceGetName, char *name, int n, int d) BODY(0, snprintf(name, n, "Stub H200");)
CALL(cuDeviceTotalMem, size_t *n, int d) BODY(0, *n = gpu.memory;)
CALL(cuDeviceGetAttribute, int *v, int a, int d) BODY(0,
    *v = a == 75 ? gpu.major : a == 76 ? gpu.minor : a == 16 ? 132 : a == 97 ? gpu.shared : -1;
    NEED(*v >= 0, INVALID_VALUE))
CALL(cuDevicePrimaryCtxRetain, void **c, int d) BODY(0, *c = make(0, sizeof(Object)); note("cuDevicePrimaryCtxRetain %d\n", d);)
CALL(cuCtxPushCurrent, void *c) BODY(0, NEED(c, NO_CONTEXT) depth++;)
CALL(cuCtxPopCurrent, void **c) BODY(1, depth--; *c = 0;)
CALL(cuCtxSynchronize, void) BODY(1, note("cuCtxSynchronize\n"); drain(last);)

CALL(cuMemAlloc, void **p, size_t n) BODY(1, r = allocate(p, n, 0); NEED(!r, r) note("cuMemAlloc %zu %#lx\n", n, (long)*p);)
CALL(cuMemFree, void *p) BODY(1, int i = held(p, 0, 0); NEED(i && blocks[i - 1].address == p, INVALID_VALUE)
    note("cuMemFree %#lx\n", (long)p); drain(last); blocks[i - 1].address = 0; free(p);)
CALL(cuMemGetInfo, size_t *f, size_t *t) BODY(1, *t = gpu.memory; *f = gpu.memory - taken();)
CALL(cuMemHostAlloc, void **p, size_t n, unsigned flags) BODY(1, r = allocate(p, n, 1); NEED(!r, r) note("cuMemHostAlloc %zu flags=%u\n", n, flags);)
CALL(cuMemFreeHost, void *p) BODY(1, int i = held(p, 0, 1); NEED(i && blocks[i - 1].address == p, INVALID_VALUE)
    note("cuMemFreeHost\n"); NEED(!waits(p, blocks[i - 1].bytes), BAD_HANDLE) blocks[i - 1].address = 0; free(p);)
CALL(cuMemcpyHtoDAsync, void *d, const void *s, size_t n, void *stream) BODY(1, NEED(held(d, n, 0), INVALID_VALUE)
    note("cuMemcpyHtoDAsync %#lx %zu %s%d\n", (long)d, n, NAME(stream));
    later(d, s, n); if (!held(s, n, 1)) drain(last);)
CALL(cuMemcpyDtoHAsync, void *d, const void *s, size_t n, void *stream) BODY(1, NEED(held(s, n, 0), INVALID_VALUE)
    note("cuMemcpyDtoHAsync %#lx %zu %s%d\n", (long)s, n, NAME(stream)); drain(last); memcpy(d, s, n);)

CALL(cuStreamCreate, Object **s, unsigned flags) BODY(1, *s = make(1, sizeof(Object)); note("cuStreamCreate flags=%u %s%d\n", flags, NAME(*s));)
CALL(cuStreamDestroy, Object *s) BODY(1, NEED(s->alive, BAD_HANDLE) s->alive = 0; note("cuStreamDestroy %s%d\n", NAME(s));)
CALL(cuStreamSynchronize, Object *s) BODY(1, NEED(named(s)->alive, BAD_HANDLE) note("cuStreamSynchronize %s%d\n", NAME(s)); drain(last);)
CALL(cuStreamWaitEvent, Object *s, Object *e, unsigned f) BODY(1, NEED(e->alive, BAD_HANDLE) note("cuStreamWaitEvent %s%d %s%d\n", NAME(s), NAME(e));)
CALL(cuEventCreate, Event **e, unsigned flags) BODY(1, *e = make(6, sizeof(Event)); note("cuEventCreate flags=%u %s%d\n", flags, NAME(*e));)
CALL(cuEventDestroy, Object *e) BODY(1, NEED(e->alive, BAD_HANDLE) e->alive = 0; note("cuEventDestroy %s%d\n", NAME(e));)
CALL(cuEventRecord, Event *e, void *s) BODY(1, NEED(e->o.alive, BAD_HANDLE) e->mark = last; note("cuEventRecord %s%d %s%d\n", NAME(e), NAME(s));)
CALL(cuEventSynchronize, Event *e) BODY(1, NEED(e->o.alive, BAD_HANDLE) note("cuEventSynchronize %s%d\n", NAME(e)); drain(e->mark);)
CALL(cuEventElapsedTime, float *ms, Event *a, Event *b) BODY(1, NEED(a->o.alive && b->o.alive, BAD_HANDLE) *ms = b->mark - a->mark;)

CALL(cuModuleLoadData, Module **out, const char *image) BODY(1,
    Module *m = *out = make(2, sizeof(Module)); char *at = strdup(image); char *word = strtok(at, " ");
    snprintf(m->entry, sizeof m->entry, "%s", memcmp(image, "\x7f" "ELF", 4) ? word : "machine code");
    while ((word = strtok(0, " ")) && memcmp(image, "\x7f" "ELF", 4)) m->sizes[m->count++] = atoi(word);
    free(at); note("cuModuleLoadData %s%d\n", NAME(m));)
CALL(cuModuleGetFunction, Module **f, Module *m, const char *name) BODY(1, NEED(!strcmp(m->entry, "machine code") || !strcmp(m->entry, name), NOT_FOUND)
    *f = m; note("cuModuleGetFunction %s%d %s\n", NAME(m), name);)
CALL(cuFuncSetAttribute, Module *f, int a, int v) BODY(1, note("cuFuncSetAttribute %s%d %d=%d\n", NAME(f), a, v);)

static void copy(Launch *to, const Params *from) {  // as the driver: the arguments, not the pointers to them
    to->function = from->function, to->shared = from->shared;
    memcpy(to->grid, from->grid, 12), memcpy(to->block, from->block, 12);
    for (int i = 0; i < to->function->count; i++) memcpy(to->bytes[i], from->params[i], to->function->sizes[i]);
}
static void show(const Launch *l) {
    if (quiet) return;
    note(" %s grid=%u,%u,%u block=%u,%u,%u shared=%u params=", l->function->entry, l->grid[0], l->grid[1], l->grid[2],
         l->block[0], l->block[1], l->block[2], l->shared);
    for (int i = 0; i < l->function->count; i++, note(i < l->function->count ? "," : ""))
        for (int b = 0; b < l->function->sizes[i]; b++) note("%02x", l->bytes[i][b]);
    note("\n");
}
CALL(cuGraphCreate, Graph **g, unsigned flags) BODY(1, *g = make(3, sizeof(Graph)); note("cuGraphCreate %s%d\n", NAME(*g));)
CALL(cuGraphAddKernelNode, Node **out, Graph *g, Node **after, size_t n, const Params *p) BODY(1,
    NEED(g->o.alive && p->function && g->count < NODES, INVALID_VALUE)
    Node *node = *out = g->nodes[g->count++] = make(4, sizeof(Node)); copy(&node->launch, p);
    note("cuGraphAddKernelNode %s%d %s%d after=", NAME(g), NAME(node));
    for (size_t i = 0; i < n; i++) note("%s%d", NAME(after[i]));
    show(&node->launch);)
CALL(cuGraphInstantiate, Exec **e, Graph *g, unsigned long long flags) BODY(1, NEED(g->o.alive, BAD_HANDLE)
    Exec *x = *e = make(5, sizeof(Exec)); x->count = g->count;
    for (int i = 0; i < g->count; i++) x->nodes[i] = g->nodes[i], *(x->launches[i] = malloc(sizeof(Launch))) = g->nodes[i]->launch;
    note("cuGraphInstantiate %s%d %s%d\n", NAME(g), NAME(x));)
CALL(cuGraphExecKernelNodeSetParams, Exec *x, Node *node, const Params *p) BODY(1, NEED(x->o.alive, BAD_HANDLE)
    int i = 0; while (i < x->count && x->nodes[i] != node) i++;
    NEED(i < x->count, INVALID_VALUE) copy(x->launches[i], p);
    note("cuGraphExecKernelNodeSetParams %s%d %s%d", NAME(x), NAME(node)); show(x->launches[i]);)
CALL(cuGraphLaunch, Exec *x, void *stream) BODY(1, NEED(x && x->o.alive, BAD_HANDLE) note("cuGraphLaunch %s%d %s%d\n", NAME(x), NAME(stream));
    for (int i = 0; i < x->count; i++) if (!strcmp(x->launches[i]->function->entry, "copy")) {
        void *target; void *source; unsigned bytes;
        memcpy(&target, x->launches[i]->bytes[0], 8), memcpy(&source, x->launches[i]->bytes[1], 8), memcpy(&bytes, x->launches[i]->bytes[2], 4);
        later(target, source, bytes);
    })
CALL(cuGraphExecDestroy, Object *x) BODY(1, NEED(x->alive, BAD_HANDLE) x->alive = 0; note("cuGraphExecDestroy %s%d\n", NAME(x));)
CALL(cuGraphDestroy, Object *g) BODY(1, NEED(g->alive, BAD_HANDLE) g->alive = 0; note("cuGraphDestroy %s%d\n", NAME(g));)

static void list(const char *name, const void *values, int n, int size) {
    note(" %s=", name);
    for (int i = 0; i < n; i++) note(i ? ",%lld" : "%lld", size == 8 ? ((const long long *)values)[i] : ((const int *)values)[i]);
}
static void head(const char *name, const void *map, int type, int rank, long at, const void *extents, const void *pitches) {
    note("%s aligned=%d type=%d address=%#lx", name, !((uintptr_t)map % 64), type, at);
    list("extents", extents, rank, 8), list("pitches", pitches, rank - 1, 8);
}
static void tail(void *map, int interleave, int swizzle, int l2, int fill) {
    note(" interleave=%d swizzle=%d l2=%d fill=%d\n", interleave, swizzle, l2, fill);
    for (int i = 0; i < 128; i++) ((unsigned char *)map)[i] = i;
}
CALL(cuTensorMapEncodeTiled, void *map, int type, unsigned rank, long at, void *extents, void *pitches, void *box, void *steps,
     int i, int s, int l, int f) BODY(0, head("cuTensorMapEncodeTiled", map, type, rank, at, extents, pitches);
    list("box", box, rank, 4), list("steps", steps, rank, 4), tail(map, i, s, l, f);)
CALL(cuTensorMapEncodeIm2col, void *map, int type, unsigned rank, long at, void *extents, void *pitches, void *lower, void *upper,
     unsigned channels, unsigned pixels, void *steps, int i, int s, int l, int f) BODY(0,
    head("cuTensorMapEncodeIm2col", map, type, rank, at, extents, pitches);
    list("lower", lower, rank - 2, 4), list("upper", upper, rank - 2, 4);
    note(" channels=%u pixels=%u", channels, pixels); list("steps", steps, rank, 4), tail(map, i, s, l, f);)

Result cuGetErrorName(int code, const char **s) {
    static char name[32];
    *s = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : (sprintf(name, "CUDA_ERROR_%d", code), name);
    return OK;
}
Result cuGetErrorString(int code, const char **s) { *s = "an error of the stub"; return OK; }

Result cuGetProcAddress_v2(const char *name, void **p, int version, uint64_t flags, int *status);
static const struct { const char *name; void *p; } table[] = {
#define E(name) {#name, (void *)name}
    E(cuInit), E(cuDriverGetVersion), E(cuDeviceGetCount), E(cuDeviceGet), E(cuDeviceGetName), E(cuDeviceTotalMem),
    E(cuDeviceGetAttribute), E(cuDevicePrimaryCtxRetain), E(cuCtxPushCurrent), E(cuCtxPopCurrent), E(cuCtxSynchronize),
    E(cuMemAlloc), E(cuMemFree), E(cuMemGetInfo), E(cuMemHostAlloc), E(cuMemFreeHost), E(cuMemcpyHtoDAsync), E(cuMemcpyDtoHAsync),
    E(cuStreamCreate), E(cuStreamDestroy), E(cuStreamSynchronize), E(cuStreamWaitEvent), E(cuEventCreate), E(cuEventDestroy),
    E(cuEventRecord), E(cuEventSynchronize), E(cuEventElapsedTime), E(cuModuleLoadData), E(cuModuleGetFunction), E(cuFuncSetAttribute),
    E(cuGraphCreate), E(cuGraphAddKernelNode), E(cuGraphInstantiate), E(cuGraphExecKernelNodeSetParams), E(cuGraphLaunch),
    E(cuGraphExecDestroy), E(cuGraphDestroy), E(cuTensorMapEncodeTiled), E(cuTensorMapEncodeIm2col), E(cuGetErrorName), E(cuGetErrorString),
    {"cuGraphInstantiateWithFlags", (void *)cuGraphInstantiate}, {"cuGetProcAddress", (void *)cuGetProcAddress_v2}, {"cuGetProcAddress_v2", (void *)cuGetProcAddress_v2}};
Result cuGetProcAddress_v2(const char *name, void **p, int version, uint64_t flags, int *status) {
    *p = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) if (!strcmp(table[i].name, name)) *p = table[i].p;
    if (status) *status = !*p;
    return *p ? OK : NOT_FOUND;
}
