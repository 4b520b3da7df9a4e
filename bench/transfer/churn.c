/* churn <plug-in> <configuration> <streams> <bytes an image> <date> <seconds>
 *
 * Each stream writes an image and reads it back, again and again, until the time is over. A call that fails is counted and
 * said; its stream goes on with the next image. Prints one JSON line: images, failures, and how long 16 MiB took, in
 * calls of 256 KiB, and a close that completes an image: milliseconds. */
#include "plugin.h"

#define PIECE (64u * CALL_SIZE)
/* Of each kind and stream; what comes later is not kept. */
#define KEPT 100000u

enum kind { UP, DOWN, CLOSE, KINDS };

struct stream {
    pthread_t thread;
    uint64_t number, images, failed, counts[KINDS];
    /* Microseconds. */
    uint32_t *took[KINDS];
};

static uint64_t streams, image_size, first_date, deadline;

static int good(struct stream *stream, int32_t code, const char *what) {
    if (code == STSP_OK)
        return 1;
    stream->failed++;
    fprintf(stderr, "stream %llu: %s gave %d\n", (unsigned long long)stream->number, what, code);
    return 0;
}

static void record(struct stream *stream, enum kind kind, uint64_t began) {
    if (stream->counts[kind] < KEPT)
        stream->took[kind][stream->counts[kind]++] = (uint32_t)((now_ns() - began) / 1000);
}

static int write_all(struct stream *stream, const stsp_image_def_t *def, uint64_t size) {
    stsp_handle_t image;
    uint64_t piece = now_ns(), written, began;
    if (!good(stream, api.create_image(server, "main", def, 0, &image), "create_image"))
        return 0;
    for (uint64_t done = 0; done < size; done += written) {
        if (!good(stream, api.write_image(image, source + done % SOURCE_SIZE, CALL_SIZE, done, &written), "write_image")) {
            api.close_image(image, 0);
            return 0;
        }
        if ((done + written) % PIECE == 0) {
            record(stream, UP, piece);
            piece = now_ns();
        }
    }
    began = now_ns();
    if (!good(stream, api.close_image(image, STSP_CLOSEF_COMPLETE), "close_image"))
        return 0;
    record(stream, CLOSE, began);
    return 1;
}

static void read_all(struct stream *stream, const stsp_image_def_t *def, uint64_t size, unsigned char *sink) {
    stsp_handle_t image;
    uint64_t piece = now_ns(), read;
    if (!good(stream, api.open_image(server, "main", def, STSP_OPEN_READ, &image), "open_image"))
        return;
    for (uint64_t done = 0; done < size; done += read) {
        if (!good(stream, api.read_image(image, sink, CALL_SIZE, done, &read), "read_image"))
            break;
        if (read == 0) {
            good(stream, -1, "an image that ends early: read_image");
            break;
        }
        if ((done + read) % PIECE == 0) {
            record(stream, DOWN, piece);
            piece = now_ns();
        }
    }
    good(stream, api.close_image(image, 0), "close_image");
}

static void *run(void *given) {
    struct stream *stream = given;
    unsigned char *sink = malloc(CALL_SIZE);
    /* Every other stream begins with half an image, so that some read while others write. */
    for (uint64_t size = stream->number % 2 ? image_size / 2 : image_size; now_ns() < deadline; size = image_size) {
        stsp_image_def_t def = definition(first_date + stream->images++ * streams + stream->number);
        if (write_all(stream, &def, size))
            read_all(stream, &def, size, sink);
    }
    free(sink);
    return NULL;
}

static void report(struct stream *all, enum kind kind, const char *name) {
    uint64_t count = 0;
    uint32_t *took = malloc((streams * KEPT + 1) * sizeof *took);
    for (uint64_t i = 0; i < streams; count += all[i++].counts[kind])
        memcpy(took + count, all[i].took[kind], all[i].counts[kind] * sizeof *took);
    qsort(took, count, sizeof *took, ascending);
#define MS(share) (share_of(took, count, share) / 1e3)
    printf(",\"%s\":{\"count\":%llu,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"p999_ms\":%.1f,\"max_ms\":%.1f}", name,
           (unsigned long long)count, MS(0.5), MS(0.99), MS(0.999), MS(1.0));
    free(took);
}

int main(int argc, char **argv) {
    uint64_t images = 0, failed = 0;
    struct stream *all;
    if (argc != 7)
        return 2;
    streams = strtoull(argv[3], NULL, 10);
    image_size = strtoull(argv[4], NULL, 10);
    first_date = strtoull(argv[5], NULL, 10);
    all = calloc(streams + 1, sizeof *all);
    start(argv[1], argv[2]);
    fill_source();
    deadline = now_ns() + strtoull(argv[6], NULL, 10) * 1000000000u;
    for (uint64_t i = 0; i < streams; i++) {
        all[i].number = i;
        for (int kind = 0; kind < KINDS; kind++)
            all[i].took[kind] = malloc(KEPT * sizeof *all[i].took[kind]);
        pthread_create(&all[i].thread, NULL, run, &all[i]);
    }
    for (uint64_t i = 0; i < streams; i++) {
        pthread_join(all[i].thread, NULL);
        images += all[i].images;
        failed += all[i].failed;
    }
    end();
    printf("{\"images\":%llu,\"failed\":%llu", (unsigned long long)images, (unsigned long long)failed);
    report(all, UP, "up");
    report(all, DOWN, "down");
    report(all, CLOSE, "close");
    puts("}");
    return 0;
}
