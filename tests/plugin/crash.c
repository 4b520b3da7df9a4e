/* One step in an image's life for each process: the crash tests kill it at any request. The number names the image. */
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL (1024u * 1024u)
#define LARGE (12u * 1024u * 1024u)
#define LARGER (18u * 1024u * 1024u)
/* Image metadata too large for the sidecar: they are objects of their own. */
#define META_FIRST 100000u
#define META_SECOND 120000u

static stsp_handle_t begin(void) {
    load();
    init();
    return open_server();
}

static void end(stsp_handle_t server) {
    OK(api.close_server(server));
    OK(api.terminate());
}

static stsp_handle_t create(stsp_handle_t server, uint64_t number) {
    stsp_image_def_t def = definition("crash", number);
    stsp_handle_t image = STSP_NO_HANDLE;
    OK(api.create_image(server, "main", &def, 0, &image));
    return image;
}

static stsp_handle_t open_image(stsp_handle_t server, uint64_t number, uint32_t mode) {
    stsp_image_def_t def = definition("crash", number);
    stsp_handle_t image = STSP_NO_HANDLE;
    OK(api.open_image(server, "main", &def, mode, &image));
    return image;
}

static void write_meta(stsp_handle_t image, uint64_t len, uint64_t seed) {
    unsigned char *meta = malloc(len);
    uint64_t written = 0;
    CHECK(meta != NULL);
    fill(meta, len, seed, 0);
    OK(api.write_image_meta(image, meta, len, 0, &written));
    EXPECT(written, len);
    free(meta);
}

void step_one(uint64_t number) {
    stsp_handle_t server = begin(), image = create(server, number);
    write_all(image, 0, SMALL, number);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    end(server);
}

void step_many(uint64_t number) {
    stsp_handle_t server = begin(), image = create(server, number);
    write_all(image, 0, LARGE, number);
    write_meta(image, META_FIRST, number);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    end(server);
}

void step_incomplete(uint64_t number) {
    stsp_handle_t server = begin(), image = create(server, number);
    write_all(image, 0, LARGE, number);
    write_meta(image, META_FIRST, number);
    OK(api.close_image(image, 0));
    end(server);
}

static uint64_t finish(stsp_handle_t server, uint64_t number) {
    stsp_handle_t image = open_image(server, number, STSP_OPEN_WRITE);
    stsp_image_info_t info = { 0 };
    info.struct_size = sizeof info;
    OK(api.get_image_prop(image, &info));
    CHECK(info.size <= LARGER);
    write_all(image, info.size, LARGER, number);
    OK(api.close_image(image, STSP_CLOSEF_COMPLETE));
    return info.size;
}

void step_finish(uint64_t number) {
    stsp_handle_t server = begin();
    finish(server, number);
    end(server);
}

void step_delete(uint64_t number) {
    stsp_handle_t server = begin();
    stsp_image_def_t def = definition("crash", number);
    OK(api.delete_image(server, "main", &def, 0));
    end(server);
}

void step_overwrite(uint64_t number) {
    stsp_handle_t server = begin(), image = STSP_NO_HANDLE;
    stsp_image_def_t def = definition("crash", number);
    EXPECT(api.create_image(server, "main", &def, 0, &image), STSP_EEXIST);
    end(server);
}

void step_rewrite(uint64_t number) {
    stsp_handle_t server = begin(), image = open_image(server, number, STSP_OPEN_READ);
    write_meta(image, META_SECOND, number + 1);
    OK(api.close_image(image, 0));
    end(server);
}

/* The metadata are those of one write as a whole, whichever. */
static void check_meta(stsp_handle_t image, uint64_t number) {
    unsigned char *meta = malloc(META_SECOND + 1);
    uint64_t read = 0;
    CHECK(meta != NULL);
    OK(api.read_image_meta(image, meta, META_SECOND + 1, 0, &read));
    CHECK(read == 0 || (read == META_FIRST && filled(meta, read, number, 0)) ||
          (read == META_SECOND && filled(meta, read, number + 1, 0)));
    free(meta);
}

static void restore_and_check(stsp_handle_t server, uint64_t number, uint64_t size) {
    stsp_image_def_t def = definition("crash", number);
    restore(server, &def, size, number);
    stsp_handle_t image = open_image(server, number, STSP_OPEN_READ);
    check_meta(image, number);
    OK(api.close_image(image, 0));
}

/* Says what became of the image; a complete one must be whole. */
void check_state(uint64_t number) {
    stsp_handle_t server = begin();
    stsp_image_def_t def = definition("crash", number);
    stsp_image_info_t info = { 0 };
    info.struct_size = sizeof info;
    int32_t code = api.get_image_prop_byname(server, "main", &def, &info);
    if (code == STSP_ENOENT) {
        puts("absent");
    } else if (OK(code), info.flags == STSP_II_IMAGE_CREATED) {
        CHECK(info.size == SMALL || info.size == LARGE || info.size == LARGER);
        restore_and_check(server, number, info.size);
        puts("complete");
    } else {
        /* Not busy: its writer is dead, and that is known. */
        EXPECT(info.flags, STSP_II_IMAGE_PENDING);
        puts("pending");
    }
    end(server);
}

/* Goes on with what a dead writer left, and finishes it. */
void resume(uint64_t number) {
    stsp_handle_t server = begin();
    uint64_t kept = finish(server, number);
    restore_and_check(server, number, LARGER);
    printf("%llu\n", (unsigned long long)kept);
    end(server);
}
