/* Hosts that are short of threads, memory or stack, that cancel their threads, or load the plug-in twice. */
#define _GNU_SOURCE
#include "host.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

static stsp_handle_t server;

static void set_limit(int resource, rlim_t soft) {
    struct rlimit limit;
    CHECK(getrlimit(resource, &limit) == 0);
    limit.rlim_cur = soft;
    CHECK(setrlimit(resource, &limit) == 0);
}

/* The soft limit can go up again to `hard`. */
static void set_limits(int resource, rlim_t soft, rlim_t hard) {
    struct rlimit limit = { soft, hard };
    CHECK(setrlimit(resource, &limit) == 0);
}

static int32_t lsu_prop(void) {
    stsp_lsu_prop_t prop;
    memset(&prop, 0, sizeof prop);
    prop.struct_size = sizeof prop;
    return api.get_lsu_prop_byname(server, "main", &prop);
}

static int32_t server_prop(void) {
    stsp_server_prop_t prop;
    memset(&prop, 0, sizeof prop);
    prop.struct_size = sizeof prop;
    return api.get_server_prop(server, &prop);
}

static int32_t image_prop(const stsp_image_def_t *def) {
    stsp_image_info_t info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    return api.get_image_prop_byname(server, "main", def, &info);
}

static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;

static void *pass_gate(void *unused) {
    pthread_rwlock_rdlock(&gate);
    pthread_rwlock_unlock(&gate);
    return unused;
}

/* How many threads this process can have beside this one, up to `most`. */
static int possible_threads(int most) {
    pthread_t made[64];
    int count = 0;
    pthread_rwlock_wrlock(&gate);
    while (count < most && pthread_create(&made[count], NULL, pass_gate, NULL) == 0)
        count++;
    pthread_rwlock_unlock(&gate);
    for (int i = 0; i < count; i++)
        pthread_join(made[i], NULL);
    while (threads() > 1)
        sleep_ms(1);
    return count;
}

static void same_mask(const sigset_t *before) {
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int number = 1; number < 65; number++)
        CHECK(sigismember(&now, number) == sigismember(before, number));
}

/* The user of this process may have `most` processes and threads. Root is not bound by that, so it becomes HOST_UID. */
void few_threads(uint64_t most) {
    stsp_image_def_t kept = definition("crash", 1), fresh = definition("few", most);
    stsp_handle_t image = STSP_NO_HANDLE;
    sigset_t before;
    int32_t rc;
    load();
    if (geteuid() == 0) {
        uid_t user = (uid_t)strtoul(getenv("HOST_UID"), NULL, 10);
        CHECK(setgroups(0, NULL) == 0 && setgid(user) == 0 && setuid(user) == 0);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    set_limits(RLIMIT_NPROC, most, 1000);
    EXPECT(possible_threads(60), most - 1);
    init();
    server = open_server();
    rc = lsu_prop();
    same_mask(&before);
    if (rc != STSP_OK) {
        EXPECT(rc, STSP_ESYSCALL);
        CHECK(strstr(last_message, "thread") && strstr(last_message, "pids.max"));
        EXPECT(api.delete_image(server, "main", &kept, 0), STSP_ESYSCALL);
        EXPECT(api.create_image(server, "main", &fresh, 0, &image), STSP_ESYSCALL);
        same_mask(&before);
        CHECK(threads() == 1);
    }
    printf("%s with %d threads\n", rc == STSP_OK ? "works" : "refuses", (int)most);
    set_limit(RLIMIT_NPROC, 1000);
    /* Nothing was half done, and nothing is broken for good. */
    OK(image_prop(&kept));
    backup(server, &fresh, 6 * MIB, most);
    restore(server, &fresh, 6 * MIB, most);
    OK(api.delete_image(server, "main", &fresh, 0));
    OK(api.close_server(server));
    OK(api.terminate());
    same_mask(&before);
    CHECK(threads() == 1);
}

static rlim_t mapped(void) {
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm && fscanf(statm, "%lu", &pages) == 1);
    fclose(statm);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static double microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* With less than 32 MiB left a call does nothing and says so; afterwards all goes on. */
void little_memory(uint64_t calls) {
    stsp_image_def_t whole = definition("memory", 1), open = definition("memory", 2), other = definition("memory", 3);
    stsp_handle_t image, none = STSP_NO_HANDLE;
    uint64_t done = 0;
    double began;
    load();
    init();
    server = open_server();
    backup(server, &whole, 6 * MIB, 1);
    OK(api.create_image(server, "main", &open, 0, &image));
    write_all(image, 0, 1 * MIB, 2);
    began = microseconds();
    for (uint64_t i = 0; i < calls; i++)
        OK(server_prop());
    printf("%.2f us for a call without a limit\n", (microseconds() - began) / (double)calls);
    set_limit(RLIMIT_AS, mapped() + 8 * MIB);
    EXPECT(lsu_prop(), STSP_ENOMEM);
    CHECK(strstr(last_message, "RLIMIT_AS") && strstr(last_message, "32 MiB"));
    EXPECT(server_prop(), STSP_ENOMEM);
    EXPECT(api.create_image(server, "main", &other, 0, &none), STSP_ENOMEM);
    EXPECT(api.open_image(server, "main", &whole, STSP_OPEN_READ, &none), STSP_ENOMEM);
    EXPECT(api.delete_image(server, "main", &whole, 0), STSP_ENOMEM);
    EXPECT(api.write_image(image, &open, sizeof open, 1 * MIB, &done), STSP_ENOMEM);
    EXPECT(api.close_image(image, STSP_CLOSEF_COMPLETE), STSP_ENOMEM);
    EXPECT(api.close_image(image, STSP_CLOSEF_COMPLETE), STSP_EHANDLE);
    set_limit(RLIMIT_AS, RLIM_INFINITY);
    OK(image_prop(&open));
    EXPECT(image_prop(&other), STSP_ENOENT);
    restore(server, &whole, 6 * MIB, 1);
    OK(api.close_server(server));
    OK(api.terminate());
}

static void *cancelled_in_a_call(void *rc) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    pthread_cancel(pthread_self());
    pthread_setcancelstate(before, NULL);
    /* It opens a file and logs: cancellation points, on the caller's thread. */
    *(int32_t *)rc = lsu_prop();
    pthread_testcancel();
    return NULL;
}

void cancelled(uint64_t unused) {
    (void)unused;
    load();
    init();
    server = open_server();
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *end = NULL;
        int32_t rc = -1;
        CHECK(pthread_create(&thread, NULL, cancelled_in_a_call, &rc) == 0);
        CHECK(pthread_join(thread, &end) == 0);
        OK(rc);
        CHECK(end == PTHREAD_CANCELED);
    }
    OK(api.close_server(server));
    OK(api.terminate());
}

static void *whole_life(void *size) {
    stsp_image_def_t def = definition("stack", 1);
    stsp_image_entry_t entry;
    stsp_handle_t image, list;
    uint64_t done = 0;
    memset(&entry, 0, sizeof entry);
    entry.struct_size = sizeof entry;
    init();
    server = open_server();
    OK(lsu_prop());
    OK(api.create_image(server, "main", &def, 0, &image));
    write_all(image, 0, *(uint64_t *)size, 7);
    OK(api.write_image_meta(image, &def, sizeof def, 0, &done));
    OK(api.close_image(image, 0));
    OK(api.open_image(server, "main", &def, STSP_OPEN_WRITE, &image));
    write_all(image, *(uint64_t *)size, *(uint64_t *)size + MIB, 7);
    OK(api.flush(image));
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    restore(server, &def, *(uint64_t *)size + MIB, 7);
    OK(image_prop(&def));
    OK(api.open_image_list(server, "main", NULL, &list));
    OK(api.list_image(list, &entry));
    OK(api.close_image_list(list));
    OK(api.delete_image(server, "main", &def, 0));
    EXPECT(image_prop(&def), STSP_ENOENT);
    OK(api.close_server(server));
    OK(api.terminate());
    return NULL;
}

/* Every call on a thread with a small stack. HOST_STACK is how small, else it is told how much would do. */
void small_stack(uint64_t size) {
    const char *given = getenv("HOST_STACK");
    size_t bytes = given ? strtoul(given, NULL, 10) : 4 * MIB, untouched = 0;
    /* What a page below would catch. */
    unsigned char *memory = mmap(NULL, bytes + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *stack;
    pthread_attr_t attributes;
    pthread_t thread;
    load();
    CHECK(memory != MAP_FAILED);
    stack = memory + 65536;
    CHECK(mprotect(stack, bytes, PROT_READ | PROT_WRITE) == 0);
    memset(stack, 0xa5, bytes);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, bytes) == 0);
    CHECK(pthread_create(&thread, &attributes, whole_life, &size) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    while (untouched < bytes && stack[untouched] == 0xa5)
        untouched++;
    printf("%zu bytes of stack used\n", bytes - untouched);
}

/* A second copy of the plug-in, as another product's installation may bring one: HOST_COPY names it. */
void two_copies(uint64_t size) {
    static struct api other;
    stsp_plugin_info_t info;
    stsp_server_prop_t prop;
    stsp_session_t session = { sizeof session, STSP_LOG_ERROR, NULL, NULL, config_path };
    stsp_image_def_t def = definition("copies", 1);
    stsp_handle_t theirs = STSP_NO_HANDLE, image, none;
    uint64_t done;
    void *second = dlopen(getenv("HOST_COPY"), RTLD_NOW | RTLD_LOCAL);
    CHECK(second != NULL);
#define LOAD_OTHER(name) *(void **)&other.name = dlsym(second, "stsp_" #name); CHECK(other.name != NULL);
    FUNCTIONS(LOAD_OTHER)
    load();
    CHECK(api.init != other.init);
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    memset(&prop, 0, sizeof prop);
    prop.struct_size = sizeof prop;
    init();
    OK(other.init(STSP_ABI_VERSION, &info));
    server = open_server();
    OK(other.open_server(&session, "VastData:t", NULL, NULL, &theirs));
    EXPECT(other.get_server_prop(server, &prop), STSP_EHANDLE);
    EXPECT(api.get_server_prop(theirs, &prop), STSP_EHANDLE);
    EXPECT(other.close_server(server), STSP_EHANDLE);
    OK(api.create_image(server, "main", &def, 0, &image));
    write_all(image, 0, size, 9);
    EXPECT(other.write_image(image, &def, sizeof def, size, &done), STSP_EHANDLE);
    EXPECT(other.close_image(image, STSP_CLOSEF_COMPLETE), STSP_EHANDLE);
    /* The same process, but not the copy whose handle writes. */
    EXPECT(other.delete_image(theirs, "main", &def, 0), STSP_EBUSY);
    EXPECT(other.open_image(theirs, "main", &def, STSP_OPEN_WRITE, &none), STSP_EBUSY);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    restore(server, &def, size, 9);
    OK(other.delete_image(theirs, "main", &def, 0));
    OK(other.close_server(theirs));
    OK(other.terminate());
    OK(server_prop());
    OK(api.close_server(server));
    OK(api.terminate());
}

/* A daemon without standard streams: no descriptor of the plug-in gets their numbers. */
void closed_streams(uint64_t size) {
    stsp_image_def_t def = definition("streams", 1);
    char path[32], target[32];
    int out;
    load();
    out = fcntl(1, F_DUPFD, 10);
    CHECK(out >= 10);
    for (int fd = 0; fd < 3; fd++)
        CHECK(close(fd) == 0);
    init();
    server = open_server();
    backup(server, &def, size, 1);
    for (int fd = 0; fd < 3; fd++) {
        ssize_t length;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        length = readlink(path, target, sizeof target - 1);
        CHECK(length > 0);
        target[length] = 0;
        CHECK(strcmp(target, "/dev/null") == 0);
    }
    restore(server, &def, size, 1);
    OK(api.close_server(server));
    OK(api.terminate());
    /* The streams are the host's: they stay open, and it may put others in their places. */
    CHECK(dup2(out, 1) == 1);
}
