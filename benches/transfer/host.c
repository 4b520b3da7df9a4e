/* host <plug-in> <configuration> up|down|startup <streams> <bytes a stream> <date>
 *
 * Loads the plug-in as NetBackup does and moves images, one a thread, in calls of 256 KiB. Prints one JSON line: how long
 * the calls took that move bytes, in microseconds, and what the process itself took from before the load to the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "stsp.h"

#define FUNCTIONS(X) \
    X(init) X(claim) X(terminate) X(open_server) X(close_server) X(get_lsu_prop_byname) X(create_image) X(open_image) \
    X(write_image) X(read_image) X(close_image)
#define MEMBER(name) __typeof__(stsp_##name) *name;
static struct { FUNCTIONS(MEMBER) } api;

#define CALL_SIZE 262144u
/* As much as NetBackup's thirty shared buffers, and shared by all streams: what is measured is the plug-in's memory. */
#define SOURCE_SIZE (32 * CALL_SIZE)
static unsigned char *source;
static stsp_handle_t server;

struct stream {
    pthread_t thread;
    uint64_t size, date, calls;
    /* Nanoseconds of each call. */
    uint32_t *took;
    void (*move)(struct stream *);
};

static void log_line(void *context, int32_t severity, const char *message) {
    (void)context, (void)severity;
    fprintf(stderr, "%s\n", message);
}

static void ok(int32_t code, const char *what) {
    if (code == STSP_OK)
        return;
    fprintf(stderr, "%s gave %d\n", what, code);
    exit(1);
}
#define OK(call) ok(call, #call)

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void load(const char *path) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#define LOAD(name) if (!(*(void **)&api.name = dlsym(plugin, "stsp_" #name))) exit(1);
    FUNCTIONS(LOAD)
}

static void start(const char *plugin, const char *config) {
    stsp_session_t session = { sizeof session, STSP_LOG_ERROR, log_line, NULL, config };
    stsp_plugin_info_t info = { .struct_size = sizeof info };
    load(plugin);
    OK(api.init(STSP_ABI_VERSION, &info));
    OK(api.claim(STSP_PREFIX "t"));
    OK(api.open_server(&session, STSP_PREFIX "t", NULL, NULL, &server));
}

static void end(void) {
    OK(api.close_server(server));
    OK(api.terminate());
}

static stsp_image_def_t definition(uint64_t date) {
    stsp_image_def_t def = { .struct_size = sizeof def };
    def.date = date;
    snprintf(def.basename, sizeof def.basename, "bench_%llu_C1_F1", (unsigned long long)date);
    strcpy(def.policy, "bench");
    return def;
}

static void record(struct stream *stream, uint64_t began) {
    uint64_t took = now_ns() - began;
    stream->took[stream->calls++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
}

static void up(struct stream *stream) {
    stsp_image_def_t def = definition(stream->date);
    stsp_handle_t image;
    OK(api.create_image(server, "main", &def, 0, &image));
    for (uint64_t done = 0, written; done < stream->size; done += written) {
        uint64_t left = stream->size - done, began = now_ns();
        OK(api.write_image(image, source + done % SOURCE_SIZE, left < CALL_SIZE ? left : CALL_SIZE, done, &written));
        record(stream, began);
    }
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
}

static void down(struct stream *stream) {
    stsp_image_def_t def = definition(stream->date);
    stsp_handle_t image;
    unsigned char *sink = malloc(CALL_SIZE);
    OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &image));
    for (uint64_t done = 0, read; done < stream->size; done += read) {
        uint64_t left = stream->size - done, began = now_ns();
        OK(api.read_image(image, sink, left < CALL_SIZE ? left : CALL_SIZE, done, &read));
        record(stream, began);
        if (read == 0)
            ok(-1, "the image ends early: read_image");
    }
    OK(api.close_image(image, 0));
    free(sink);
}

static void *run(void *stream) {
    ((struct stream *)stream)->move(stream);
    return NULL;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(struct stream *streams, uint64_t count, uint64_t began) {
    uint64_t calls = 0, at = 0;
    double wall = (double)(now_ns() - began) / 1e9;
    uint32_t *all;
    for (uint64_t i = 0; i < count; i++)
        calls += streams[i].calls;
    all = malloc((calls + 1) * sizeof *all);
    for (uint64_t i = 0; i < count; at += streams[i++].calls)
        memcpy(all + at, streams[i].took, streams[i].calls * sizeof *all);
    qsort(all, calls, sizeof *all, ascending);
#define SHARE(share) (calls ? all[(uint64_t)((double)(calls - 1) * (share))] / 1e3 : 0.0)
    printf("{\"wall_s\":%.6f,\"calls\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n", wall,
           (unsigned long long)calls, SHARE(0.5), SHARE(0.99), SHARE(0.999), SHARE(1.0));
}

static void move(const char *direction, struct stream *streams, uint64_t count) {
    int is_up = strcmp(direction, "up") == 0;
    /* Written once, so that it is memory and not the kernel's one page of zeros. */
    source = malloc(SOURCE_SIZE);
    memset(source, 1, SOURCE_SIZE);
    memset(source, 0, SOURCE_SIZE);
    for (uint64_t i = 0; i < count; i++) {
        streams[i].move = is_up ? up : down;
        streams[i].took = malloc((streams[i].size / CALL_SIZE + 2) * sizeof *streams[i].took);
        pthread_create(&streams[i].thread, NULL, run, &streams[i]);
    }
    for (uint64_t i = 0; i < count; i++)
        pthread_join(streams[i].thread, NULL);
}

int main(int argc, char **argv) {
    uint64_t began = now_ns(), count;
    struct stream *streams;
    if (argc != 7)
        return 2;
    count = strtoull(argv[4], NULL, 10);
    streams = calloc(count + 1, sizeof *streams);
    for (uint64_t i = 0; i < count; i++) {
        streams[i].size = strtoull(argv[5], NULL, 10);
        streams[i].date = strtoull(argv[6], NULL, 10) + i;
    }
    start(argv[1], argv[2]);
    if (strcmp(argv[3], "startup") == 0) {
        stsp_lsu_prop_t prop = { .struct_size = sizeof prop };
        OK(api.get_lsu_prop_byname(server, "main", &prop));
        count = 0;
    } else {
        move(argv[3], streams, count);
    }
    end();
    report(streams, count, began);
    return 0;
}
