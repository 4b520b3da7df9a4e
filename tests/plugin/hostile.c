/* Threads that share, race and terminate; servers that break or stall. */
#define _GNU_SOURCE
#include "host.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static stsp_handle_t server, image;
static uint64_t total;
static int stop;

static void start(pthread_t *thread, void *(*body)(void *), void *argument) {
    EXPECT(pthread_create(thread, NULL, body, argument), 0);
}

static void join(pthread_t thread) {
    EXPECT(pthread_join(thread, NULL), 0);
}

/* Appends where the image ends; of two threads that do so one is late and is told so. */
static void *append(void *unused) {
    unsigned char *buffer = malloc(CALL_SIZE);
    stsp_image_info_t info;
    (void)unused;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    for (;;) {
        uint64_t len, written;
        int32_t rc;
        OK(api.get_image_prop(image, &info));
        if (info.size >= total)
            break;
        len = total - info.size < CALL_SIZE ? total - info.size : CALL_SIZE;
        fill(buffer, len, 3, info.size);
        rc = api.write_image(image, buffer, len, info.size, &written);
        CHECK(rc == STSP_OK || rc == STSP_EOFFSET);
    }
    free(buffer);
    return NULL;
}

static void *read_anywhere(void *seed) {
    unsigned char *buffer = malloc(CALL_SIZE);
    unsigned random = (unsigned)(uintptr_t)seed;
    for (int i = 0; i < 200; i++) {
        uint64_t offset = ((uint64_t)rand_r(&random) << 8) % total, read, wanted;
        wanted = total - offset < CALL_SIZE ? total - offset : CALL_SIZE;
        OK(api.read_image(image, buffer, CALL_SIZE, offset, &read));
        CHECK(read == wanted && filled(buffer, read, 3, offset));
    }
    free(buffer);
    return NULL;
}

/* Several threads on one handle: nothing is lost, nothing is mixed up. */
void shared_handle(uint64_t size) {
    stsp_image_def_t def = definition("shared", 1);
    pthread_t threads[3];
    total = size;
    load();
    init();
    server = open_server();
    OK(api.create_image(server, "main", &def, 0, &image));
    for (int i = 0; i < 3; i++)
        start(&threads[i], append, NULL);
    for (int i = 0; i < 3; i++)
        join(threads[i]);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    restore(server, &def, size, 3);
    OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &image));
    for (int i = 0; i < 3; i++)
        start(&threads[i], read_anywhere, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < 3; i++)
        join(threads[i]);
    OK(api.close_image(image, 0));
    OK(api.close_server(server));
    OK(api.terminate());
}

static void *read_until_closed(void *unused) {
    unsigned char buffer[4096];
    uint64_t offset = 0, read;
    int32_t rc;
    (void)unused;
    while ((rc = api.read_image(image, buffer, sizeof buffer, offset % total, &read)) == STSP_OK)
        offset += 123457;
    EXPECT(rc, STSP_EHANDLE);
    return NULL;
}

static void *write_until_closed(void *taken) {
    unsigned char *buffer = malloc(CALL_SIZE);
    uint64_t offset = 0, written;
    int32_t rc;
    do {
        fill(buffer, CALL_SIZE, 4, offset);
        rc = api.write_image(image, buffer, CALL_SIZE, offset, &written);
        if (rc == STSP_OK)
            *(uint64_t *)taken = offset += written;
    } while (rc == STSP_OK);
    EXPECT(rc, STSP_EHANDLE);
    free(buffer);
    return NULL;
}

static void *close_it(void *rc) {
    *(int32_t *)rc = api.close_image(image, STSP_CLOSEF_COMPLETE);
    return NULL;
}

/* Two closes while another thread reads, then writes: one wins, and no byte that was taken is lost. */
void close_races(uint64_t rounds) {
    stsp_image_def_t def = definition("read", 1);
    load();
    init();
    server = open_server();
    total = 6 << 20;
    backup(server, &def, total, 3);
    for (uint64_t round = 0; round < rounds; round++) {
        pthread_t worker, closers[2];
        int32_t rc[2];
        uint64_t taken = 0;
        stsp_image_def_t written = definition("written", round);
        for (int writing = 0; writing < 2; writing++) {
            if (writing)
                OK(api.create_image(server, "main", &written, 0, &image));
            else
                OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &image));
            start(&worker, writing ? write_until_closed : read_until_closed, &taken);
            sleep_ms((unsigned)(round * 7 % 40));
            start(&closers[0], close_it, &rc[0]);
            start(&closers[1], close_it, &rc[1]);
            join(closers[0]);
            join(closers[1]);
            join(worker);
            CHECK((rc[0] == STSP_OK && rc[1] == STSP_EHANDLE) || (rc[1] == STSP_OK && rc[0] == STSP_EHANDLE));
        }
        restore(server, &written, taken, 4);
        OK(api.delete_image(server, "main", &written, 0));
    }
    OK(api.close_server(server));
    OK(api.terminate());
}

/* Lives on any call until the plug-in is terminated under it. */
static void *use_until_terminated(void *number) {
    stsp_image_def_t def = definition("terminated", (uint64_t)(uintptr_t)number);
    unsigned char *buffer = malloc(CALL_SIZE);
    int32_t rc;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        stsp_handle_t mine = STSP_NO_HANDLE;
        uint64_t offset = 0, done;
        rc = api.create_image(server, "main", &def, 0, &mine);
        while (rc == STSP_OK) {
            fill(buffer, CALL_SIZE, 6, offset);
            rc = api.write_image(mine, buffer, CALL_SIZE, offset, &done);
            offset += CALL_SIZE;
        }
        if (rc != STSP_EABORT && rc != STSP_EHANDLE && rc != STSP_EINIT && rc != STSP_EEXIST)
            EXPECT(rc, STSP_EABORT);
        if (mine != STSP_NO_HANDLE)
            api.close_image(mine, STSP_CLOSEF_COMPLETE);
        /* Of an earlier round, pending still: a new name each time. */
        def.date += 1000;
    }
    free(buffer);
    return NULL;
}

/* Terminate while other threads are inside calls: it returns, they return, and no thread of the plug-in is left. */
void terminate_races(uint64_t rounds) {
    load();
    for (uint64_t round = 0; round < rounds; round++) {
        pthread_t users[3];
        init();
        server = open_server();
        __atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
        for (uintptr_t i = 0; i < 3; i++)
            start(&users[i], use_until_terminated, (void *)(round * 10000000 + i * 1000000));
        sleep_ms((unsigned)(round * 37 % 200));
        OK(api.terminate());
        __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
        for (int i = 0; i < 3; i++)
            join(users[i]);
        CHECK(threads() == 1);
    }
    init();
    server = open_server();
    OK(api.close_server(server));
    OK(api.terminate());
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *write_all_of_it(void *rc) {
    unsigned char *buffer = calloc(1, CALL_SIZE);
    uint64_t offset = 0, written;
    while ((*(int32_t *)rc = api.write_image(image, buffer, CALL_SIZE, offset, &written)) == STSP_OK && offset < total)
        offset += written;
    free(buffer);
    return NULL;
}

static void *flush_it(void *rc) {
    *(int32_t *)rc = api.flush(image);
    return NULL;
}

/* The server takes parts and never answers: a writer waits for room, others for the writer, and terminate ends all waits. */
void stalled(uint64_t size) {
    stsp_image_def_t def = definition("stalled", 1);
    pthread_t writer, queued[2];
    int32_t rc = STSP_OK, queued_rc[2] = { STSP_OK, STSP_OK };
    double before;
    total = size;
    load();
    init();
    server = open_server();
    OK(api.create_image(server, "main", &def, 0, &image));
    start(&writer, write_all_of_it, &rc);
    sleep_ms(2000);
    for (int i = 0; i < 2; i++)
        start(&queued[i], flush_it, &queued_rc[i]);
    sleep_ms(200);
    before = seconds();
    OK(api.terminate());
    join(writer);
    EXPECT(rc, STSP_EABORT);
    for (int i = 0; i < 2; i++) {
        join(queued[i]);
        EXPECT(queued_rc[i], STSP_EABORT);
    }
    CHECK(seconds() - before < 11);
    CHECK(threads() == 1);
}

/* The server cuts connections in the middle of a part: SIGPIPE must not end this process, and the error must show. */
void broken(uint64_t size) {
    stsp_image_def_t def = definition("broken", 1);
    struct sigaction action;
    int32_t rc = STSP_OK;
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0);
    total = size;
    load();
    init();
    server = open_server();
    OK(api.create_image(server, "main", &def, 0, &image));
    write_all_of_it(&rc);
    if (rc == STSP_OK)
        rc = api.close_image(image, STSP_CLOSEF_COMPLETE);
    else
        EXPECT(api.close_image(image, STSP_CLOSEF_COMPLETE), rc);
    EXPECT(rc, STSP_ENETWORK);
    CHECK(messages >= 1 && strstr(last_message, "broken_"));
    CHECK(action.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    OK(api.close_server(server));
    OK(api.terminate());
    CHECK(threads() == 1);
}

static pthread_t caller;
static int told;

/* Forbidden by the header, and done by somebody some day: calls from inside the callback. */
static void call_back(void *context, int32_t severity, const char *message) {
    stsp_server_prop_t prop;
    (void)context;
    CHECK(pthread_equal(pthread_self(), caller));
    CHECK(severity == STSP_LOG_ERROR && strstr(message, "stsp_"));
    memset(&prop, 0, sizeof prop);
    prop.struct_size = sizeof prop;
    if (server != STSP_NO_HANDLE)
        OK(api.get_server_prop(server, &prop));
    told++;
}

/* One line for each failure, on the thread of the call, before it returns. */
void chatty(uint64_t size) {
    stsp_image_def_t def = definition("chatty", 1);
    stsp_session_t session = { sizeof session, STSP_LOG_ERROR, call_back, NULL, config_path };
    uint64_t done;
    caller = pthread_self();
    load();
    init();
    /* The server's own name is wrong: the host of the failed open hears of it. */
    EXPECT(api.open_server(&session, "VastData:nosuch", NULL, NULL, &server), STSP_ESERVER);
    EXPECT(told, 1);
    OK(api.open_server(&session, "VastData:t", NULL, NULL, &server));
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, &image), STSP_ENOENT);
    EXPECT(told, 2);
    EXPECT(api.get_server_prop(server, NULL), STSP_EINVAL);
    OK(api.create_image(server, "main", &def, 0, &image));
    told = 0;
    EXPECT(api.write_image(image, "x", 1, 7, &done), STSP_EOFFSET);
    EXPECT(told, 1);
    write_all(image, 0, size, 1);
    EXPECT(told, 1);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    OK(api.close_server(server));
    OK(api.terminate());
    EXPECT(told, 1);
}

static __thread uint64_t own;

static void count_own(void *context, int32_t severity, const char *message) {
    (void)context;
    (void)severity;
    (void)message;
    own++;
}

static void *fail_often(void *calls) {
    stsp_image_def_t def = definition("nobody", 1);
    for (uint64_t i = 1; i <= *(uint64_t *)calls; i++) {
        stsp_image_info_t info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        EXPECT(api.get_image_prop_byname(server, "nowhere", &def, &info), STSP_ELSU);
        EXPECT(own, i);
    }
    return NULL;
}

/* Threads that fail side by side on one server each get their own line, on their own thread, before their call returns. */
void own_lines(uint64_t calls) {
    stsp_session_t session = { sizeof session, STSP_LOG_ERROR, count_own, NULL, config_path };
    pthread_t users[4];
    load();
    init();
    OK(api.open_server(&session, "VastData:t", NULL, NULL, &server));
    for (int i = 0; i < 4; i++)
        start(&users[i], fail_often, &calls);
    for (int i = 0; i < 4; i++)
        join(users[i]);
    OK(api.close_server(server));
    OK(api.terminate());
}

/* Behind the end of main the thread's storage is gone, and with it all that a call needs: it does nothing, and says so. */
static void close_behind_main(void) {
    uint64_t done;
    EXPECT(api.write_image(image, "x", 1, total, &done), STSP_EABORT);
    EXPECT(api.close_image(image, STSP_CLOSEF_COMPLETE), STSP_EABORT);
    OK(api.terminate());
    CHECK(threads() == 1);
    puts("good");
    fflush(stdout);
}

void too_late(uint64_t size) {
    stsp_image_def_t def = definition("late", 1), before = definition("late", 2);
    total = size;
    CHECK(atexit(close_behind_main) == 0);
    load();
    init();
    server = open_server();
    /* Its line is logged on this thread. */
    backup(server, &before, size, 1);
    OK(api.create_image(server, "main", &def, 0, &image));
    write_all(image, 0, size, 2);
    exit(0);
}
