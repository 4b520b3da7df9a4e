/* host <plug-in> <configuration> <case> <number> */
#define _GNU_SOURCE
#include "host.h"
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct api api;
const char *config_path;
char last_message[4096];
int messages;
static const char *plugin_path;
static void *plugin;

void expect(int64_t got, int64_t wanted, const char *what, const char *file, int line) {
    if (got == wanted)
        return;
    fprintf(stderr, "%s:%d: %s gave %lld, wanted %lld; last message: %s\n", file, line, what, (long long)got,
            (long long)wanted, last_message);
    _exit(1);
}

void check(int holds, const char *what, const char *file, int line) {
    if (holds)
        return;
    fprintf(stderr, "%s:%d: not so: %s; last message: %s\n", file, line, what, last_message);
    _exit(1);
}

void load(void) {
    plugin = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        _exit(1);
    }
#define LOAD(name) *(void **)&api.name = dlsym(plugin, "stsp_" #name); CHECK(api.name != NULL);
    FUNCTIONS(LOAD)
}

void unload(void) {
    EXPECT(dlclose(plugin), 0);
}

void init(void) {
    stsp_plugin_info_t info;
    memset(&info, 0x55, sizeof info);
    info.struct_size = sizeof info;
    OK(api.init(STSP_ABI_VERSION, &info));
    CHECK(info.struct_size == sizeof info && info.abi_version == STSP_ABI_VERSION);
    CHECK(strcmp(info.prefix, STSP_PREFIX) == 0 && info.version[0] != 0 && info.vendor[0] != 0);
    OK(api.claim("VastData:t"));
    EXPECT(api.claim("PureDisk:t"), STSP_ESERVER);
}

static void take_message(void *context, int32_t severity, const char *message) {
    CHECK(context == (void *)&messages && severity == STSP_LOG_ERROR);
    CHECK(strlen(message) > 0);
    __atomic_add_fetch(&messages, 1, __ATOMIC_RELAXED);
    strncpy(last_message, message, sizeof last_message - 1);
}

stsp_handle_t open_server(void) {
    stsp_session_t session = { sizeof session, STSP_LOG_ERROR, take_message, &messages, config_path };
    stsp_handle_t server = STSP_NO_HANDLE;
    OK(api.open_server(&session, "VastData:t", NULL, NULL, &server));
    CHECK(server != STSP_NO_HANDLE);
    return server;
}

static int entries(const char *folder, const char *target) {
    int count = 0;
    struct dirent *entry;
    DIR *open = opendir(folder);
    CHECK(open != NULL);
    while ((entry = readdir(open))) {
        char path[512], link[64] = "";
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (target && readlink(path, link, sizeof link - 1) < 0)
            continue;
        count += !target || strncmp(link, target, strlen(target)) == 0;
    }
    closedir(open);
    return count;
}

int threads(void) {
    return entries("/proc/self/task", NULL);
}

int sockets(void) {
    return entries("/proc/self/fd", "socket:");
}

static unsigned char byte_at(uint64_t seed, uint64_t at) {
    uint64_t word = (at / 8 + (seed << 40)) * 0x9e3779b97f4a7c15u;
    return (unsigned char)(word >> (at % 8 * 8));
}

void fill(unsigned char *buffer, uint64_t len, uint64_t seed, uint64_t offset) {
    for (uint64_t i = 0; i < len; i++)
        buffer[i] = byte_at(seed, offset + i);
}

int filled(const unsigned char *buffer, uint64_t len, uint64_t seed, uint64_t offset) {
    for (uint64_t i = 0; i < len; i++)
        if (buffer[i] != byte_at(seed, offset + i))
            return 0;
    return 1;
}

stsp_image_def_t definition(const char *client, uint64_t number) {
    stsp_image_def_t def;
    memset(&def, 0, sizeof def);
    def.struct_size = sizeof def;
    def.image_type = 1;
    def.date = 1795305600 + number;
    snprintf(def.basename, sizeof def.basename, "%s_%llu_C1_F1", client, (unsigned long long)def.date);
    strcpy(def.policy, "daily");
    return def;
}

void write_all(stsp_handle_t image, uint64_t from, uint64_t to, uint64_t seed) {
    static unsigned char buffer[CALL_SIZE];
    while (from < to) {
        uint64_t len = to - from < sizeof buffer ? to - from : sizeof buffer, written = 0;
        fill(buffer, len, seed, from);
        OK(api.write_image(image, buffer, len, from, &written));
        EXPECT(written, len);
        from += len;
    }
}

void read_all(stsp_handle_t image, uint64_t size, uint64_t seed) {
    static unsigned char buffer[CALL_SIZE];
    uint64_t read, done = 0;
    do {
        OK(api.read_image(image, buffer, sizeof buffer, done, &read));
        CHECK(filled(buffer, read, seed, done));
        done += read;
    } while (read == sizeof buffer);
    EXPECT(done, size);
}

void backup(stsp_handle_t server, const stsp_image_def_t *def, uint64_t size, uint64_t seed) {
    stsp_handle_t image;
    OK(api.create_image(server, "main", def, 0, &image));
    write_all(image, 0, size, seed);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
}

void restore(stsp_handle_t server, const stsp_image_def_t *def, uint64_t size, uint64_t seed) {
    stsp_handle_t image;
    OK(api.open_image(server, "main", def, STSP_OPEN_READ, &image));
    read_all(image, size, seed);
    OK(api.close_image(image, 0));
}

void sleep_ms(unsigned ms) {
    struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };
    nanosleep(&time, NULL);
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(uint64_t); } cases[] = {
        { "load", load_only }, { "life", life }, { "fork", forks }, { "traffic", traffic }, { "many", many },
        { "crowd", crowd }, { "reopened", reopened }, { "wrong", wrong },
        { "shared", shared_handle }, { "close", close_races }, { "terminate", terminate_races },
        { "stalled", stalled }, { "broken", broken }, { "chatty", chatty },
        { "own-lines", own_lines }, { "too-late", too_late },
        { "few-threads", few_threads }, { "little-memory", little_memory }, { "cancelled", cancelled },
        { "stack", small_stack }, { "copies", two_copies }, { "closed-streams", closed_streams },
        { "one", step_one }, { "many-parts", step_many }, { "incomplete", step_incomplete }, { "finish", step_finish },
        { "delete", step_delete }, { "overwrite", step_overwrite }, { "rewrite", step_rewrite },
        { "check", check_state }, { "resume", resume },
    };
    CHECK(argc == 5);
    plugin_path = argv[1];
    config_path = argv[2];
    /* A hang ends the process by SIGALRM, which the test reports. */
    alarm(getenv("HOST_SECONDS") ? (unsigned)atoi(getenv("HOST_SECONDS")) : 300);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, argv[3]) == 0) {
            cases[i].run(strtoull(argv[4], NULL, 10));
            puts("good");
            return 0;
        }
    fprintf(stderr, "no case %s\n", argv[3]);
    return 2;
}
