/* host <plug-in> <configuration> up|down|first|rm|startup <streams> <bytes a stream> <date>
 * host <plug-in> <configuration> random <reads> <bytes of the image> <date> <times each>
 * host <plug-in> <configuration> list <images at most> 0 0
 *
 * Loads the plug-in as NetBackup does and does one thing, one image a thread, in calls of 256 KiB. Prints one JSON line: how
 * long the calls took that the mode is about, in microseconds; how long each stream took; and what the process itself
 * took from before the load to the end. */
#include "plugin.h"

/* What NetBackup's single-file restores read at once at most. */
#define BLOCK_SIZE 131072u

struct stream {
    pthread_t thread;
    uint64_t size, date, calls, reads, times;
    double seconds;
    /* Nanoseconds of each call. */
    uint32_t *took;
    void (*move)(struct stream *);
};

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

/* Reads the image up to `most`; with `since` the first call counts from then. */
static void read_up_to(struct stream *stream, uint64_t most, uint64_t since) {
    stsp_image_def_t def = definition(stream->date);
    stsp_handle_t image;
    unsigned char *sink = malloc(CALL_SIZE);
    OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &image));
    for (uint64_t done = 0, read; done < most; done += read) {
        uint64_t left = most - done, began = since ? since : now_ns();
        OK(api.read_image(image, sink, left < CALL_SIZE ? left : CALL_SIZE, done, &read));
        record(stream, began);
        if (read == 0)
            ok(-1, "the image ends early: read_image");
    }
    OK(api.close_image(image, 0));
    free(sink);
}

static void down(struct stream *stream) {
    read_up_to(stream, stream->size, 0);
}

/* What a restore waits for: from before the open to the first bytes. */
static void first(struct stream *stream) {
    read_up_to(stream, CALL_SIZE, now_ns());
}

/* Blocks all over the image, none of them twice but `times` in a row, none behind another, not the first one. */
static void random_reads(struct stream *stream) {
    stsp_image_def_t def = definition(stream->date);
    stsp_handle_t image;
    unsigned char *sink = malloc(BLOCK_SIZE);
    uint64_t blocks = stream->size / BLOCK_SIZE, read;
    OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &image));
    for (uint64_t i = 1; i <= stream->reads; i++)
        for (uint64_t time = 0; time < stream->times; time++) {
            uint64_t began = now_ns();
            /* An odd factor and a power of two: all blocks, spread over the image, none behind its neighbour. */
            OK(api.read_image(image, sink, BLOCK_SIZE, i * 2531 % blocks * BLOCK_SIZE, &read));
            record(stream, began);
        }
    OK(api.close_image(image, 0));
    free(sink);
}

static void list(struct stream *stream) {
    stsp_image_entry_t entry = { .struct_size = sizeof entry };
    stsp_handle_t images;
    int32_t code = STSP_OK;
    OK(api.open_image_list(server, "main", NULL, &images));
    while (stream->calls < stream->reads) {
        uint64_t began = now_ns();
        if ((code = api.list_image(images, &entry)) != STSP_OK)
            break;
        record(stream, began);
    }
    ok(code == STSP_EOFLIST ? STSP_OK : code, "list_image");
    OK(api.close_image_list(images));
}

static void rm(struct stream *stream) {
    stsp_image_def_t def = definition(stream->date);
    OK(api.delete_image(server, "main", &def, 0));
}

/* What NetBackup's pollers ask. */
static void startup(struct stream *stream) {
    stsp_lsu_prop_t prop = { .struct_size = sizeof prop };
    (void)stream;
    OK(api.get_lsu_prop_byname(server, "main", &prop));
}

static const struct { const char *name; void (*move)(struct stream *); } MODES[] = {
    { "up", up }, { "down", down }, { "first", first }, { "random", random_reads }, { "list", list }, { "rm", rm },
    { "startup", startup },
};

static void *run(void *given) {
    struct stream *stream = given;
    uint64_t began = now_ns();
    stream->move(stream);
    stream->seconds = (double)(now_ns() - began) / 1e9;
    return NULL;
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
#define SHARE(share) (share_of(all, calls, share) / 1e3)
    printf("{\"wall_s\":%.6f,\"calls\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"streams_s\":[",
           wall, (unsigned long long)calls, SHARE(0.5), SHARE(0.99), SHARE(0.999), SHARE(1.0));
    for (uint64_t i = 0; i < count; i++)
        printf("%s%.6f", i ? "," : "", streams[i].seconds);
    puts("]}");
}

int main(int argc, char **argv) {
    uint64_t began = now_ns(), number, count;
    void (*move)(struct stream *) = NULL;
    struct stream *streams;
    if (argc != 7 && argc != 8)
        return 2;
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (strcmp(argv[3], MODES[i].name) == 0)
            move = MODES[i].move;
    if (!move)
        return 2;
    number = strtoull(argv[4], NULL, 10);
    count = move == random_reads || move == list ? 1 : number;
    streams = calloc(count + 1, sizeof *streams);
    for (uint64_t i = 0; i < count; i++) {
        struct stream *stream = &streams[i];
        stream->move = move;
        stream->size = strtoull(argv[5], NULL, 10);
        stream->date = strtoull(argv[6], NULL, 10) + i;
        stream->reads = number;
        stream->times = argc == 8 ? strtoull(argv[7], NULL, 10) : 1;
        stream->took = malloc((stream->size / CALL_SIZE + number * stream->times + 2) * sizeof *stream->took);
    }
    start(argv[1], argv[2]);
    if (move == up)
        fill_source();
    for (uint64_t i = 0; i < count; i++)
        pthread_create(&streams[i].thread, NULL, run, &streams[i]);
    for (uint64_t i = 0; i < count; i++)
        pthread_join(streams[i].thread, NULL);
    end();
    report(streams, count, began);
    return 0;
}
