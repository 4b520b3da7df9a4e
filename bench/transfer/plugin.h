/* The plug-in as the hosts of this benchmark load it: its functions, one open server, images by their date. */
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
    X(write_image) X(read_image) X(close_image) X(delete_image) X(open_image_list) X(list_image) X(close_image_list)
#define MEMBER(name) __typeof__(stsp_##name) *name;
static struct { FUNCTIONS(MEMBER) } api;

#define CALL_SIZE 262144u
/* As much as NetBackup's thirty shared buffers, and shared by all streams: what is measured is the plug-in's memory. */
#define SOURCE_SIZE (32 * CALL_SIZE)
static unsigned char *source;
static stsp_handle_t server;

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

/* Written once, so that it is memory and not the kernel's one page of zeros. */
static void fill_source(void) {
    source = malloc(SOURCE_SIZE);
    memset(source, 1, SOURCE_SIZE);
    memset(source, 0, SOURCE_SIZE);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The value that so many of `count` sorted ones do not exceed. */
static double share_of(const uint32_t *sorted, uint64_t count, double share) {
    return count ? sorted[(uint64_t)((double)(count - 1) * share)] : 0.0;
}
