/* host <plug-in> <configuration>
 * A host as it was written for version 1 of stsp.h, compiled with the copy beside it. Neither file changes any more: later
 * versions of the plug-in must serve this program as the first one did, and write nothing behind its structs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "stsp.h"

#define FUNCTIONS(X) \
    X(init) X(claim) X(terminate) X(open_server) X(close_server) X(get_server_prop) X(get_server_prop_byname) \
    X(open_lsu_list) X(list_lsu) X(close_lsu_list) X(get_lsu_prop_byname) X(label_lsu) X(create_image) X(open_image) \
    X(write_image) X(read_image) X(flush) X(close_image) X(delete_image) X(get_image_prop) X(get_image_prop_byname) \
    X(write_image_meta) X(read_image_meta) X(open_image_list) X(list_image) X(close_image_list)
#define MEMBER(name) __typeof__(stsp_##name) *name;
static struct { FUNCTIONS(MEMBER) } api;

static char last_message[4096];

static void check(int holds, const char *what, int line) {
    if (holds)
        return;
    fprintf(stderr, "line %d: not so: %s; last message: %s\n", line, what, last_message);
    _exit(1);
}
#define CHECK(condition) check((condition), #condition, __LINE__)
#define OK(call) CHECK((call) == STSP_OK)

/* A struct of version 1 with memory behind it that is nobody's but ours. */
#define BEHIND 64
#define GUARDED(type, name) static struct { type it; unsigned char behind[BEHIND]; } name
GUARDED(stsp_plugin_info_t, info);
GUARDED(stsp_session_t, session);
GUARDED(stsp_cred_t, cred);
GUARDED(stsp_server_prop_t, server_prop);
GUARDED(stsp_lsu_prop_t, lsu_prop);
GUARDED(stsp_image_def_t, def);
GUARDED(stsp_image_info_t, image_info);
GUARDED(stsp_image_filter_t, filter);
GUARDED(stsp_image_entry_t, entry);

/* Before a call: an empty struct of the size that this program knows, or what the last call left of it. */
#define EMPTY(name) (memset(&name, 0, sizeof name.it), SIZED(name))
#define SIZED(name) (memset(name.behind, 0x5a, BEHIND), name.it.struct_size = sizeof name.it)

/* After it: the same size, and nothing written behind. */
#define INTACT(name) CHECK(name.it.struct_size == sizeof name.it && untouched(name.behind))

static int untouched(const unsigned char *behind) {
    for (int i = 0; i < BEHIND; i++)
        if (behind[i] != 0x5a)
            return 0;
    return 1;
}

static void load(const char *path) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(plugin != NULL);
#define LOAD(name) *(void **)&api.name = dlsym(plugin, "stsp_" #name); CHECK(api.name != NULL);
    FUNCTIONS(LOAD)
}

static void take_message(void *context, int32_t severity, const char *message) {
    CHECK(context == (void *)last_message && severity >= STSP_LOG_INFO);
    strncpy(last_message, message, sizeof last_message - 1);
}

static stsp_handle_t open_server(const char *config) {
    stsp_handle_t server = STSP_NO_HANDLE;
    SIZED(info);
    OK(api.init(STSP_ABI_VERSION, &info.it));
    INTACT(info);
    CHECK(info.it.abi_version == 1 && strcmp(info.it.prefix, "VastData:") == 0);
    OK(api.claim("VastData:t"));
    CHECK(api.claim("PureDisk:t") == STSP_ESERVER);

    EMPTY(session);
    session.it.log = take_message;
    session.it.log_context = last_message;
    session.it.config_file = config;
    EMPTY(cred);
    cred.it.user = "nobody";
    cred.it.password = "asks for them here";
    OK(api.open_server(&session.it, "VastData:t", &cred.it, NULL, &server));
    INTACT(session);
    INTACT(cred);
    CHECK(server != STSP_NO_HANDLE);

    SIZED(server_prop);
    OK(api.get_server_prop(server, &server_prop.it));
    INTACT(server_prop);
    CHECK(strcmp(server_prop.it.name, "VastData:t") == 0 && server_prop.it.capabilities & STSP_SRV_DISK);
    CHECK(server_prop.it.lsu_count > 0 && strncmp(server_prop.it.endpoint, "http", 4) == 0);
    EMPTY(server_prop);
    OK(api.get_server_prop_byname(&session.it, "VastData:t", &cred.it, &server_prop.it));
    INTACT(server_prop);
    CHECK(strcmp(server_prop.it.name, "VastData:t") == 0);
    return server;
}

static void see_lsus(stsp_handle_t server) {
    stsp_handle_t list;
    int32_t rc;
    int found = 0;
    OK(api.open_lsu_list(server, &list));
    SIZED(lsu_prop);
    while ((rc = api.list_lsu(list, &lsu_prop.it)) == STSP_OK) {
        INTACT(lsu_prop);
        found += strcmp(lsu_prop.it.name, "main") == 0 && lsu_prop.it.flags & STSP_LSUF_ACTIVE;
    }
    CHECK(rc == STSP_EOFLIST && found == 1);
    OK(api.close_lsu_list(list));

    OK(api.label_lsu(server, "main", "first floor"));
    OK(api.get_lsu_prop_byname(server, "main", &lsu_prop.it));
    INTACT(lsu_prop);
    CHECK(strcmp(lsu_prop.it.name, "main") == 0 && strcmp(lsu_prop.it.label, "first floor") == 0);
    CHECK(lsu_prop.it.flags & STSP_LSUF_CAPACITY_KNOWN && lsu_prop.it.capacity_bytes == 1000000000000u);
}

#define SIZE (11u * 1048576 + 7)
#define CALL 262144u
static unsigned char data[SIZE], back[CALL];

static void write_it(stsp_handle_t server) {
    stsp_handle_t image;
    uint64_t written;
    OK(api.create_image(server, "main", &def.it, 0, &image));
    INTACT(def);
    for (uint64_t at = 0, len; at < SIZE; at += len) {
        len = SIZE - at < CALL ? SIZE - at : CALL;
        OK(api.write_image(image, data + at, len, at, &written));
        CHECK(written == len);
    }
    OK(api.write_image_meta(image, "fragment 1", 10, 0, &written));
    CHECK(written == 10);
    OK(api.flush(image));

    SIZED(image_info);
    OK(api.get_image_prop(image, &image_info.it));
    INTACT(image_info);
    CHECK(image_info.it.size == SIZE && image_info.it.flags == (STSP_II_IMAGE_PENDING | STSP_II_BUSY_WRITE));
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
}

static void read_it(stsp_handle_t server) {
    stsp_handle_t image;
    uint64_t read, at = 0;
    OK(api.open_image(server, "main", &def.it, STSP_OPEN_READ, &image));
    INTACT(def);
    do {
        OK(api.read_image(image, back, CALL, at, &read));
        CHECK(at + read <= SIZE && memcmp(back, data + at, read) == 0);
        at += read;
    } while (read == CALL);
    CHECK(at == SIZE);
    OK(api.read_image_meta(image, back, CALL, 0, &read));
    CHECK(read == 10 && memcmp(back, "fragment 1", 10) == 0);
    OK(api.close_image(image, 0));

    EMPTY(image_info);
    OK(api.get_image_prop_byname(server, "main", &def.it, &image_info.it));
    INTACT(image_info);
    INTACT(def);
    CHECK(image_info.it.size == SIZE && image_info.it.flags == STSP_II_IMAGE_CREATED);
    CHECK(image_info.it.image_type == 7 && image_info.it.date == def.it.date && image_info.it.completed > 0);
    CHECK(strcmp(image_info.it.basename, def.it.basename) == 0 && strcmp(image_info.it.policy, "daily") == 0);
    CHECK(strcmp(image_info.it.lsu, "main") == 0);
}

static int listed(stsp_handle_t server) {
    stsp_handle_t list;
    int32_t rc;
    int count = 0;
    EMPTY(filter);
    strcpy(filter.it.client, "frozen");
    OK(api.open_image_list(server, "main", &filter.it, &list));
    INTACT(filter);
    SIZED(entry);
    while ((rc = api.list_image(list, &entry.it)) == STSP_OK) {
        INTACT(entry);
        CHECK(strcmp(entry.it.basename, def.it.basename) == 0 && entry.it.date == def.it.date);
        CHECK(entry.it.flags == STSP_II_IMAGE_CREATED);
        count++;
    }
    CHECK(rc == STSP_EOFLIST);
    OK(api.close_image_list(list));
    return count;
}

int main(int argc, char **argv) {
    stsp_handle_t server;
    CHECK(argc == 3);
    /* A hang ends the process by SIGALRM, which the test reports. */
    alarm(300);
    for (uint32_t i = 0; i < SIZE; i++)
        data[i] = (unsigned char)((i / 3) * 2654435761u >> 24);
    load(argv[1]);
    server = open_server(argv[2]);
    see_lsus(server);

    EMPTY(def);
    def.it.image_type = 7;
    def.it.date = 1795305601;
    strcpy(def.it.basename, "frozen_1795305601_C1_F1");
    strcpy(def.it.policy, "daily");
    write_it(server);
    read_it(server);
    CHECK(listed(server) == 1);
    OK(api.delete_image(server, "main", &def.it, 0));
    INTACT(def);
    CHECK(api.delete_image(server, "main", &def.it, 0) == STSP_ENOENT);
    CHECK(strstr(last_message, "stsp_delete_image") && listed(server) == 0);

    OK(api.close_server(server));
    OK(api.terminate());
    puts("good");
    return 0;
}
