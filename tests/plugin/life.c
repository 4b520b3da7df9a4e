/* Right use: loading, a whole life, forks, many processes. */
#define _GNU_SOURCE
#include "host.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double cpu_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* What NetBackup's pollers do in a process of their own, every time. */
void load_only(uint64_t unused) {
    double start, loaded, claimed;
    CHECK(threads() == 1 && sockets() == 0);
    start = cpu_ms();
    load();
    loaded = cpu_ms();
    init();
    claimed = cpu_ms();
    printf("load %.2f ms, init and claim %.2f ms of CPU\n", loaded - start, claimed - loaded);
    (void)unused;
    CHECK(threads() == 1 && sockets() == 0);
    open_server();
    CHECK(threads() == 1 && sockets() == 0);
    OK(api.terminate());
    unload();
}

static void see_lsus(stsp_handle_t server) {
    stsp_lsu_prop_t prop;
    stsp_handle_t list;
    int active = 0, count = 0, rc;
    memset(&prop, 0, sizeof prop);
    prop.struct_size = sizeof prop;
    OK(api.open_lsu_list(server, &list));
    while ((rc = api.list_lsu(list, &prop)) == STSP_OK) {
        count++;
        active += (prop.flags & STSP_LSUF_ACTIVE) != 0;
    }
    EXPECT(rc, STSP_EOFLIST);
    EXPECT(api.list_lsu(list, &prop), STSP_EOFLIST);
    OK(api.close_lsu_list(list));
    CHECK(count == 3 && active == 2);
    OK(api.label_lsu(server, "main", "first floor"));
    OK(api.get_lsu_prop_byname(server, "main", &prop));
    CHECK(strcmp(prop.label, "first floor") == 0 && prop.capacity_bytes == 1000000000000u);
}

static int listed(stsp_handle_t server, const char *prefix) {
    stsp_image_filter_t filter;
    stsp_image_entry_t entry;
    stsp_handle_t list;
    int count = 0, rc;
    memset(&filter, 0, sizeof filter);
    filter.struct_size = sizeof filter;
    strcpy(filter.basename_prefix, prefix);
    memset(&entry, 0, sizeof entry);
    entry.struct_size = sizeof entry;
    OK(api.open_image_list(server, "main", &filter, &list));
    while ((rc = api.list_image(list, &entry)) == STSP_OK)
        count++;
    EXPECT(rc, STSP_EOFLIST);
    OK(api.close_image_list(list));
    return count;
}

static void see_images(stsp_handle_t server, uint64_t size, uint64_t seed) {
    stsp_image_def_t def = definition("life", seed);
    stsp_image_info_t info;
    stsp_handle_t image;
    char meta[16];
    uint64_t done;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;

    OK(api.create_image(server, "main", &def, 0, &image));
    write_all(image, 0, size, seed);
    OK(api.write_image_meta(image, "fragment 1", 10, 0, &done));
    OK(api.get_image_prop(image, &info));
    CHECK(info.size == size && info.flags == (STSP_II_IMAGE_PENDING | STSP_II_BUSY_WRITE));
    EXPECT(api.close_server(server), STSP_EBUSY);
    OK(api.flush(image));
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    EXPECT(api.create_image(server, "main", &def, 0, &image), STSP_EEXIST);

    OK(api.get_image_prop_byname(server, "main", &def, &info));
    CHECK(info.size == size && info.flags == STSP_II_IMAGE_CREATED && info.completed >= info.created);
    OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &image));
    read_all(image, size, seed);
    OK(api.read_image_meta(image, meta, sizeof meta, 0, &done));
    CHECK(done == 10 && memcmp(meta, "fragment 1", 10) == 0);
    EXPECT(api.delete_image(server, "main", &def, 0), STSP_EBUSY);
    OK(api.close_image(image, 0));

    CHECK(listed(server, "life_") == 1);
    OK(api.delete_image(server, "main", &def, 0));
    EXPECT(api.delete_image(server, "main", &def, 0), STSP_ENOENT);
    CHECK(strstr(last_message, "stsp_delete_image") && strstr(last_message, def.basename) && strstr(last_message, "main"));
    CHECK(listed(server, "life_") == 0);
}

/* Twice over in one process, loading and unloading included. */
void life(uint64_t size) {
    for (uint64_t round = 1; round <= 2; round++) {
        stsp_handle_t server;
        stsp_server_prop_t prop;
        memset(&prop, 0, sizeof prop);
        prop.struct_size = sizeof prop;
        load();
        init();
        server = open_server();
        OK(api.get_server_prop(server, &prop));
        CHECK(strcmp(prop.name, "VastData:t") == 0 && prop.lsu_count == 3 && prop.image_size_max >= size);
        see_lsus(server);
        see_images(server, size, round);
        CHECK(threads() > 1);
        OK(api.close_server(server));
        EXPECT(api.get_server_prop(server, &prop), STSP_EHANDLE);
        OK(api.terminate());
        CHECK(threads() == 1 && sockets() == 0);
        EXPECT(api.get_server_prop(server, &prop), STSP_EINIT);
        unload();
    }
}

static void wait_for(pid_t child) {
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    EXPECT(status, 0);
}

static void child_of_fork(stsp_handle_t server, stsp_handle_t writing, stsp_handle_t reading, uint64_t size) {
    unsigned char byte[1];
    uint64_t done;
    stsp_image_def_t def = definition("child", 1), parents = definition("parent", 2);
    alarm(60);
    /* The very first calls in the child: nothing of the parent's images may be reached. */
    EXPECT(api.write_image(writing, byte, 1, 0, &done), STSP_EHANDLE);
    EXPECT(api.read_image(reading, byte, 1, 0, &done), STSP_EHANDLE);
    EXPECT(api.close_image(writing, STSP_CLOSEF_COMPLETE), STSP_EHANDLE);
    backup(server, &def, size, 11);
    restore(server, &def, size, 11);
    restore(server, &parents, size, 2);
    OK(api.close_server(server));
    OK(api.terminate());
    CHECK(threads() == 1 && sockets() <= 64);
    _exit(0);
}

/* The parent forks with an image open for write and one for read, and goes on with both; so does a grandchild. */
void forks(uint64_t size) {
    stsp_image_def_t first = definition("parent", 1), second = definition("parent", 2);
    stsp_handle_t server, writing, reading;
    pid_t child;
    load();
    init();
    server = open_server();
    backup(server, &second, size, 2);
    OK(api.create_image(server, "main", &first, 0, &writing));
    OK(api.open_image(server, "main", &second, STSP_OPEN_READ, &reading));
    write_all(writing, 0, size / 2, 1);
    if ((child = fork()) == 0)
        child_of_fork(server, writing, reading, size);
    read_all(reading, size, 2);
    write_all(writing, size / 2, size, 1);
    OK(api.close_image(writing, STSP_CLOSEF_COMPLETE));
    OK(api.close_image(reading, 0));
    restore(server, &first, size, 1);
    wait_for(child);
    /* A child that calls nothing, and one that only terminates, end well too. */
    if ((child = fork()) == 0)
        _exit(0);
    wait_for(child);
    if ((child = fork()) == 0) {
        OK(api.terminate());
        _exit(0);
    }
    wait_for(child);
    CHECK(listed(server, "parent_") == 2 && listed(server, "child_") == 1);
    OK(api.close_server(server));
    OK(api.terminate());
    CHECK(threads() == 1);
}

static stsp_handle_t busy_server;
static int busy_stop;

static void *busy(void *unused) {
    stsp_image_def_t def = definition("busy", 1);
    (void)unused;
    while (!__atomic_load_n(&busy_stop, __ATOMIC_ACQUIRE)) {
        backup(busy_server, &def, 6 << 20, 1);
        OK(api.delete_image(busy_server, "main", &def, 0));
    }
    return NULL;
}

/* Forks while another thread of the host is inside calls and the plug-in's threads send and log. */
void traffic(uint64_t rounds) {
    stsp_lsu_prop_t prop;
    stsp_image_def_t child_def = definition("amid", 1);
    pthread_t worker;
    memset(&prop, 0, sizeof prop);
    prop.struct_size = sizeof prop;
    load();
    init();
    busy_server = open_server();
    CHECK(pthread_create(&worker, NULL, busy, NULL) == 0);
    for (uint64_t round = 0; round < rounds; round++) {
        pid_t child;
        sleep_ms((unsigned)(round * 13 % 50));
        if ((child = fork()) == 0) {
            /* A fork in the very moment in which the other thread opens or closes a handle loses the servers. */
            int32_t rc;
            alarm(20);
            rc = api.get_lsu_prop_byname(busy_server, "nosuch", &prop);
            if (rc == STSP_EHANDLE)
                _exit(0);
            EXPECT(rc, STSP_ELSU);
            child_def.date += round;
            backup(busy_server, &child_def, 1000, round);
            restore(busy_server, &child_def, 1000, round);
            OK(api.terminate());
            _exit(0);
        }
        wait_for(child);
    }
    __atomic_store_n(&busy_stop, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(worker, NULL) == 0);
    OK(api.close_server(busy_server));
    OK(api.terminate());
    CHECK(threads() == 1);
}

/* One process per job, as NetBackup has it. */
void many(uint64_t processes) {
    pid_t children[64];
    stsp_handle_t server;
    CHECK(processes <= 64);
    for (uint64_t i = 0; i < processes; i++) {
        if ((children[i] = fork()) == 0) {
            stsp_image_def_t def = definition("many", i);
            uint64_t size = 3 * 1048576 + i * 1000003 / 2;
            alarm(120);
            load();
            init();
            server = open_server();
            backup(server, &def, size, i);
            restore(server, &def, size, i);
            OK(api.close_server(server));
            OK(api.terminate());
            _exit(0);
        }
    }
    for (uint64_t i = 0; i < processes; i++)
        wait_for(children[i]);
    load();
    init();
    server = open_server();
    EXPECT(listed(server, "many_"), (int64_t)processes);
    OK(api.close_server(server));
    OK(api.terminate());
}

/* Every open image is promised a part; `images` is more than the budget holds. Refused, nothing is taken or kept. */
void crowd(uint64_t images) {
    stsp_handle_t open[64], refused = STSP_NO_HANDLE;
    uint64_t count = 0;
    int32_t code;
    CHECK(images <= sizeof open / sizeof *open);
    load();
    init();
    stsp_handle_t server = open_server();
    for (;; count++) {
        stsp_image_def_t def = definition("crowd", count);
        CHECK(count < images);
        if ((code = api.create_image(server, "main", &def, 0, &open[count])) != STSP_OK)
            break;
    }
    EXPECT(code, STSP_ENOMEM);
    CHECK(count > 1 && strstr(last_message, "[pool] budget") != NULL);
    stsp_image_def_t def = definition("crowd", count), first = definition("crowd", 0);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, &refused), STSP_ENOENT);
    /* One that goes makes room for one. */
    OK(api.close_image(open[0], STSP_CLOSEF_COMPLETE));
    OK(api.create_image(server, "main", &def, 0, &open[0]));
    restore(server, &first, 0, 0);
    while (count > 0)
        OK(api.close_image(open[--count], 0));
    OK(api.close_server(server));
    OK(api.terminate());
}

/* As many images as the budget has parts go on at once: each needs one part, also for the bytes that it has already. */
void reopened(uint64_t images) {
    stsp_handle_t server, open[64];
    uint64_t size = 6u << 20, more = 1000, i;
    CHECK(images <= sizeof open / sizeof *open);
    load();
    init();
    server = open_server();
    for (i = 0; i < images; i++) {
        stsp_image_def_t def = definition("reopened", i);
        OK(api.create_image(server, "main", &def, 0, &open[i]));
        write_all(open[i], 0, size, i);
        OK(api.close_image(open[i], 0));
    }
    for (i = 0; i < images; i++) {
        stsp_image_def_t def = definition("reopened", i);
        OK(api.open_image(server, "main", &def, STSP_OPEN_WRITE, &open[i]));
    }
    for (i = 0; i < images; i++) {
        stsp_image_def_t def = definition("reopened", i);
        write_all(open[i], size, size + more, i);
        OK(api.close_image(open[i], STSP_CLOSEF_COMPLETE));
        restore(server, &def, size + more, i);
    }
    OK(api.close_server(server));
    OK(api.terminate());
}
