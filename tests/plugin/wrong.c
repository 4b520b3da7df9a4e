/* Wrong use of every function: each must give its documented code, whatever a host passes. */
#define _GNU_SOURCE
#include "host.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Everything that a call may need, valid until a case spoils one thing. */
static stsp_handle_t server, writer, reader, lsus, images, fresh;
static stsp_session_t session;
static stsp_cred_t cred;
static stsp_plugin_info_t info;
static stsp_server_prop_t server_prop;
static stsp_lsu_prop_t lsu_prop;
static stsp_image_def_t def;
static stsp_image_info_t image_info;
static stsp_image_filter_t filter;
static stsp_image_entry_t entry;
static char bytes[4096];
static uint64_t done;
/* 4,096 bytes without NUL; the next byte cannot be read. */
static char *endless;

static void set_up(void) {
    memset(&session, 0, sizeof session);
    session.struct_size = sizeof session;
    session.config_file = config_path;
    memset(&cred, 0, sizeof cred);
    cred.struct_size = sizeof cred;
    cred.user = cred.password = "x";
    info.struct_size = sizeof info;
    server_prop.struct_size = sizeof server_prop;
    lsu_prop.struct_size = sizeof lsu_prop;
    image_info.struct_size = sizeof image_info;
    entry.struct_size = sizeof entry;
    memset(&filter, 0, sizeof filter);
    filter.struct_size = sizeof filter;
    def = definition("wrong", 1);
    fresh = done = 12345;
}

/* Every function that takes a handle, with all else right. */
static int32_t h_close_server(stsp_handle_t h) { return api.close_server(h); }
static int32_t h_get_server_prop(stsp_handle_t h) { return api.get_server_prop(h, &server_prop); }
static int32_t h_open_lsu_list(stsp_handle_t h) { return api.open_lsu_list(h, &fresh); }
static int32_t h_get_lsu_prop(stsp_handle_t h) { return api.get_lsu_prop_byname(h, "main", &lsu_prop); }
static int32_t h_label_lsu(stsp_handle_t h) { return api.label_lsu(h, "main", "x"); }
static int32_t h_create_image(stsp_handle_t h) { return api.create_image(h, "main", &def, 0, &fresh); }
static int32_t h_open_image(stsp_handle_t h) { return api.open_image(h, "main", &def, STSP_OPEN_READ, &fresh); }
static int32_t h_delete_image(stsp_handle_t h) { return api.delete_image(h, "main", &def, 0); }
static int32_t h_get_image_by(stsp_handle_t h) { return api.get_image_prop_byname(h, "main", &def, &image_info); }
static int32_t h_open_image_list(stsp_handle_t h) { return api.open_image_list(h, "main", NULL, &fresh); }
static int32_t h_list_lsu(stsp_handle_t h) { return api.list_lsu(h, &lsu_prop); }
static int32_t h_close_lsu_list(stsp_handle_t h) { return api.close_lsu_list(h); }
static int32_t h_write(stsp_handle_t h) { return api.write_image(h, bytes, 1, 0, &done); }
static int32_t h_read(stsp_handle_t h) { return api.read_image(h, bytes, 1, 0, &done); }
static int32_t h_flush(stsp_handle_t h) { return api.flush(h); }
static int32_t h_close_image(stsp_handle_t h) { return api.close_image(h, 0); }
static int32_t h_get_image_prop(stsp_handle_t h) { return api.get_image_prop(h, &image_info); }
static int32_t h_write_meta(stsp_handle_t h) { return api.write_image_meta(h, bytes, 1, 0, &done); }
static int32_t h_read_meta(stsp_handle_t h) { return api.read_image_meta(h, bytes, 1, 0, &done); }
static int32_t h_list_image(stsp_handle_t h) { return api.list_image(h, &entry); }
static int32_t h_close_image_list(stsp_handle_t h) { return api.close_image_list(h); }

enum kind { SERVER, LSUS, IMAGE, IMAGES };
static const struct { enum kind kind; int32_t (*call)(stsp_handle_t); } with_handle[] = {
    { SERVER, h_close_server }, { SERVER, h_get_server_prop }, { SERVER, h_open_lsu_list },
    { SERVER, h_get_lsu_prop }, { SERVER, h_label_lsu }, { SERVER, h_create_image }, { SERVER, h_open_image },
    { SERVER, h_delete_image }, { SERVER, h_get_image_by }, { SERVER, h_open_image_list },
    { LSUS, h_list_lsu }, { LSUS, h_close_lsu_list },
    { IMAGE, h_write }, { IMAGE, h_read }, { IMAGE, h_flush }, { IMAGE, h_close_image }, { IMAGE, h_get_image_prop },
    { IMAGE, h_write_meta }, { IMAGE, h_read_meta },
    { IMAGES, h_list_image }, { IMAGES, h_close_image_list },
};
#define CALLS (sizeof with_handle / sizeof *with_handle)

static void without_init(void) {
    for (size_t i = 0; i < CALLS; i++)
        EXPECT(with_handle[i].call(1), STSP_EINIT);
    EXPECT(api.open_server(&session, "VastData:t", NULL, NULL, &fresh), STSP_EINIT);
    EXPECT(api.get_server_prop_byname(&session, "VastData:t", NULL, &server_prop), STSP_EINIT);
    CHECK(fresh == 12345 && done == 12345);
    OK(api.claim("VastData:t"));
    OK(api.terminate());
    OK(api.terminate());
}

static void bad_handles(void) {
    stsp_handle_t opened[] = { server, lsus, writer, images }, closed;
    for (size_t i = 0; i < CALLS; i++) {
        EXPECT(with_handle[i].call(STSP_NO_HANDLE), STSP_EHANDLE);
        EXPECT(with_handle[i].call(1), STSP_EHANDLE);
        EXPECT(with_handle[i].call(UINT64_MAX), STSP_EHANDLE);
        for (int kind = 0; kind < 4; kind++)
            if (kind != (int)with_handle[i].kind) {
                EXPECT(with_handle[i].call(opened[kind]), STSP_EHANDLE);
                /* A right number under a wrong kind, and its neighbours. */
                EXPECT(with_handle[i].call(opened[kind] ^ ((uint64_t)0xff << 56)), STSP_EHANDLE);
            }
    }
    CHECK(fresh == 12345 && done == 12345);
    closed = open_server();
    OK(api.close_server(closed));
    for (size_t i = 0; i < CALLS; i++)
        EXPECT(with_handle[i].call(closed), STSP_EHANDLE);
    OK(api.open_lsu_list(server, &closed));
    OK(api.close_lsu_list(closed));
    for (size_t i = 0; i < CALLS; i++)
        EXPECT(with_handle[i].call(closed), STSP_EHANDLE);
    OK(api.open_image_list(server, "main", NULL, &closed));
    OK(api.close_image_list(closed));
    for (size_t i = 0; i < CALLS; i++)
        EXPECT(with_handle[i].call(closed), STSP_EHANDLE);
    OK(api.open_image(server, "main", &def, STSP_OPEN_READ, &closed));
    OK(api.close_image(closed, 0));
    for (size_t i = 0; i < CALLS; i++)
        EXPECT(with_handle[i].call(closed), STSP_EHANDLE);
    fresh = 12345;
}

static void null_pointers(void) {
    EXPECT(api.init(STSP_ABI_VERSION, NULL), STSP_EINVAL);
    EXPECT(api.claim(NULL), STSP_EINVAL);
    EXPECT(api.open_server(&session, NULL, NULL, NULL, &fresh), STSP_EINVAL);
    EXPECT(api.open_server(&session, "VastData:t", NULL, NULL, NULL), STSP_EINVAL);
    EXPECT(api.get_server_prop(server, NULL), STSP_EINVAL);
    EXPECT(api.get_server_prop_byname(&session, NULL, NULL, &server_prop), STSP_EINVAL);
    EXPECT(api.get_server_prop_byname(&session, "VastData:t", NULL, NULL), STSP_EINVAL);
    EXPECT(api.open_lsu_list(server, NULL), STSP_EINVAL);
    EXPECT(api.list_lsu(lsus, NULL), STSP_EINVAL);
    EXPECT(api.get_lsu_prop_byname(server, NULL, &lsu_prop), STSP_EINVAL);
    EXPECT(api.get_lsu_prop_byname(server, "main", NULL), STSP_EINVAL);
    EXPECT(api.label_lsu(server, NULL, "x"), STSP_EINVAL);
    EXPECT(api.label_lsu(server, "main", NULL), STSP_EINVAL);
    EXPECT(api.create_image(server, NULL, &def, 0, &fresh), STSP_EINVAL);
    EXPECT(api.create_image(server, "main", NULL, 0, &fresh), STSP_EINVAL);
    EXPECT(api.create_image(server, "main", &def, 0, NULL), STSP_EINVAL);
    EXPECT(api.open_image(server, NULL, &def, STSP_OPEN_READ, &fresh), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", NULL, STSP_OPEN_READ, &fresh), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, NULL), STSP_EINVAL);
    EXPECT(api.write_image(writer, NULL, 1, 0, &done), STSP_EINVAL);
    EXPECT(api.write_image(writer, NULL, UINT64_MAX, 0, &done), STSP_EINVAL);
    EXPECT(api.write_image(writer, bytes, 1, 0, NULL), STSP_EINVAL);
    EXPECT(api.read_image(reader, NULL, 1, 0, &done), STSP_EINVAL);
    EXPECT(api.read_image(reader, NULL, UINT64_MAX, 0, &done), STSP_EINVAL);
    EXPECT(api.read_image(reader, bytes, 1, 0, NULL), STSP_EINVAL);
    EXPECT(api.write_image_meta(writer, NULL, UINT64_MAX, 0, &done), STSP_EINVAL);
    EXPECT(api.write_image_meta(writer, bytes, 1, 0, NULL), STSP_EINVAL);
    EXPECT(api.read_image_meta(reader, NULL, UINT64_MAX, 0, &done), STSP_EINVAL);
    EXPECT(api.read_image_meta(reader, bytes, 1, 0, NULL), STSP_EINVAL);
    EXPECT(api.delete_image(server, NULL, &def, 0), STSP_EINVAL);
    EXPECT(api.delete_image(server, "main", NULL, 0), STSP_EINVAL);
    EXPECT(api.get_image_prop(writer, NULL), STSP_EINVAL);
    EXPECT(api.get_image_prop_byname(server, NULL, &def, &image_info), STSP_EINVAL);
    EXPECT(api.get_image_prop_byname(server, "main", NULL, &image_info), STSP_EINVAL);
    EXPECT(api.get_image_prop_byname(server, "main", &def, NULL), STSP_EINVAL);
    EXPECT(api.open_image_list(server, NULL, NULL, &fresh), STSP_EINVAL);
    EXPECT(api.open_image_list(server, "main", NULL, NULL), STSP_EINVAL);
    EXPECT(api.list_image(images, NULL), STSP_EINVAL);
    CHECK(fresh == 12345 && done == 12345);
    /* NULL with no bytes to move is no wrong use. */
    OK(api.write_image(writer, NULL, 0, 0, &done));
    OK(api.read_image(reader, NULL, 0, 0, &done));
    OK(api.read_image_meta(reader, NULL, 0, 0, &done));
    done = 12345;
}

/* Calls `call` with the struct's size at 0, one too small and far larger; the last must be taken. */
#define SIZES(object, call)                         \
    do {                                            \
        (object).struct_size = 0;                   \
        EXPECT(call, STSP_EINVAL);                  \
        (object).struct_size = sizeof(object) - 1;  \
        EXPECT(call, STSP_EINVAL);                  \
        (object).struct_size = sizeof(object);      \
    } while (0)

static void struct_sizes(void) {
    SIZES(info, api.init(STSP_ABI_VERSION, &info));
    SIZES(session, api.open_server(&session, "VastData:t", NULL, NULL, &fresh));
    SIZES(cred, api.open_server(&session, "VastData:t", &cred, NULL, &fresh));
    SIZES(session, api.get_server_prop_byname(&session, "VastData:t", NULL, &server_prop));
    SIZES(cred, api.get_server_prop_byname(&session, "VastData:t", &cred, &server_prop));
    SIZES(server_prop, api.get_server_prop_byname(&session, "VastData:t", NULL, &server_prop));
    SIZES(server_prop, api.get_server_prop(server, &server_prop));
    SIZES(lsu_prop, api.list_lsu(lsus, &lsu_prop));
    SIZES(lsu_prop, api.get_lsu_prop_byname(server, "main", &lsu_prop));
    SIZES(def, api.create_image(server, "main", &def, 0, &fresh));
    SIZES(def, api.open_image(server, "main", &def, STSP_OPEN_READ, &fresh));
    SIZES(def, api.delete_image(server, "main", &def, 0));
    SIZES(def, api.get_image_prop_byname(server, "main", &def, &image_info));
    SIZES(image_info, api.get_image_prop_byname(server, "main", &def, &image_info));
    SIZES(image_info, api.get_image_prop(writer, &image_info));
    SIZES(filter, api.open_image_list(server, "main", &filter, &fresh));
    SIZES(entry, api.list_image(images, &entry));
    CHECK(fresh == 12345);
}

/* A host compiled with a later, longer struct: what is filled is said, and its further fields are left alone. */
static void longer_outputs(void) {
    struct { stsp_image_info_t info; uint64_t further[4]; } longer;
    memset(&longer, 0x77, sizeof longer);
    longer.info.struct_size = sizeof longer;
    OK(api.get_image_prop(writer, &longer.info));
    CHECK(longer.info.struct_size == sizeof longer.info && longer.further[0] == 0x7777777777777777u);
    CHECK(strcmp(longer.info.lsu, "main") == 0);
    longer.info.struct_size = UINT32_MAX;
    OK(api.get_image_prop(writer, &longer.info));
    CHECK(longer.info.struct_size == sizeof longer.info && longer.further[0] == 0x7777777777777777u);
}

/* What it asks for and the plug-in does not know is refused; while it is zero, all goes well. */
static void longer_inputs(void) {
    struct { stsp_image_def_t def; uint64_t further[2]; } longer;
    memset(&longer, 0, sizeof longer);
    longer.def = def;
    longer.def.struct_size = sizeof longer;
    OK(api.get_image_prop_byname(server, "main", &longer.def, &image_info));
    CHECK(longer.def.struct_size == sizeof longer);
    ((char *)&longer)[sizeof longer - 1] = 1;
    EXPECT(api.get_image_prop_byname(server, "main", &longer.def, &image_info), STSP_EINVAL);
    EXPECT(api.create_image(server, "main", &longer.def, 0, &fresh), STSP_EINVAL);
    longer.def.struct_size = UINT32_MAX;
    EXPECT(api.get_image_prop_byname(server, "main", &longer.def, &image_info), STSP_EINVAL);
    CHECK(fresh == 12345);
}

static void misaligned_pointers(void) {
    static char room[2048] __attribute__((aligned(16)));
    memset(room, 0x40, sizeof room);
    EXPECT(api.init(STSP_ABI_VERSION, (void *)(room + 1)), STSP_EINVAL);
    EXPECT(api.get_server_prop(server, (void *)(room + 4)), STSP_EINVAL);
    EXPECT(api.open_lsu_list(server, (void *)(room + 3)), STSP_EINVAL);
    EXPECT(api.create_image(server, "main", (void *)(room + 2), 0, &fresh), STSP_EINVAL);
    EXPECT(api.write_image(writer, bytes, 1, 0, (void *)(room + 1)), STSP_EINVAL);
    EXPECT(api.open_image_list(server, "main", (void *)(room + 1), &fresh), STSP_EINVAL);
}

static void strings(void) {
    const char *close_by = endless + 4096 - 2;
    EXPECT(api.claim(endless), STSP_EINVAL);
    EXPECT(api.open_server(&session, endless, NULL, NULL, &fresh), STSP_EINVAL);
    EXPECT(api.open_server(&session, "VastData:t", NULL, endless, &fresh), STSP_EINVAL);
    session.config_file = endless;
    EXPECT(api.open_server(&session, "VastData:t", NULL, NULL, &fresh), STSP_EINVAL);
    session.config_file = "/nonexistent/vastost.toml";
    EXPECT(api.open_server(&session, "VastData:t", NULL, NULL, &fresh), STSP_ECONFIG);
    session.config_file = "/";
    EXPECT(api.open_server(&session, "VastData:t", NULL, NULL, &fresh), STSP_ECONFIG);
    session.config_file = config_path;
    cred.user = endless;
    EXPECT(api.open_server(&session, "VastData:t", &cred, NULL, &fresh), STSP_EINVAL);
    cred.user = NULL;
    EXPECT(api.open_server(&session, "VastData:t", &cred, NULL, &fresh), STSP_EINVAL);
    cred.user = "x";
    cred.password = "\xff\xfe";
    EXPECT(api.open_server(&session, "VastData:t", &cred, NULL, &fresh), STSP_EINVAL);
    EXPECT(api.get_lsu_prop_byname(server, endless, &lsu_prop), STSP_EINVAL);
    EXPECT(api.label_lsu(server, endless, "x"), STSP_EINVAL);
    EXPECT(api.label_lsu(server, "main", endless), STSP_EINVAL);
    EXPECT(api.label_lsu(server, "main", "\xff"), STSP_EINVAL);
    EXPECT(api.create_image(server, endless, &def, 0, &fresh), STSP_EINVAL);
    EXPECT(api.open_image_list(server, endless, NULL, &fresh), STSP_EINVAL);
    /* The byte behind this one-letter string cannot be read. */
    CHECK(endless[4095] == 'x');
    endless[4095] = 0;
    EXPECT(api.claim(close_by), STSP_ESERVER);
    EXPECT(api.get_lsu_prop_byname(server, close_by, &lsu_prop), STSP_ELSU);
    /* 4,095 bytes are a string, and 256 are no label. */
    EXPECT(api.claim(endless), STSP_ESERVER);
    EXPECT(api.label_lsu(server, "main", endless + 4096 - 257), STSP_EINVAL);
    OK(api.label_lsu(server, "main", endless + 4096 - 256));
    endless[4095] = 'x';

    memset(def.basename, 'x', sizeof def.basename);
    EXPECT(api.create_image(server, "main", &def, 0, &fresh), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, &fresh), STSP_EINVAL);
    EXPECT(api.delete_image(server, "main", &def, 0), STSP_EINVAL);
    EXPECT(api.get_image_prop_byname(server, "main", &def, &image_info), STSP_EINVAL);
    def.basename[255] = 0;
    EXPECT(api.create_image(server, "main", &def, 0, &fresh), STSP_EINVAL);
    def = definition("wrong", 1);
    memset(def.policy, 'x', sizeof def.policy);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, &fresh), STSP_EINVAL);
    memset(filter.client, 'x', sizeof filter.client);
    EXPECT(api.open_image_list(server, "main", &filter, &fresh), STSP_EINVAL);
    memset(filter.client, 0, sizeof filter.client);
    memset(filter.basename_prefix, 'x', sizeof filter.basename_prefix);
    EXPECT(api.open_image_list(server, "main", &filter, &fresh), STSP_EINVAL);
    set_up();
}

static void values(void) {
    EXPECT(api.init(0, &info), STSP_EINVAL);
    EXPECT(api.init(STSP_ABI_VERSION + 1, &info), STSP_EINVAL);
    EXPECT(api.claim(""), STSP_ESERVER);
    EXPECT(api.claim("VastData:"), STSP_ESERVER);
    EXPECT(api.claim("vastdata:t"), STSP_ESERVER);
    EXPECT(api.open_server(&session, "VastData:", NULL, NULL, &fresh), STSP_ESERVER);
    EXPECT(api.open_server(&session, "VastData:nosuch", NULL, NULL, &fresh), STSP_ESERVER);
    EXPECT(api.open_server(&session, "PureDisk:t", NULL, NULL, &fresh), STSP_ESERVER);
    EXPECT(api.get_lsu_prop_byname(server, "", &lsu_prop), STSP_ELSU);
    EXPECT(api.get_lsu_prop_byname(server, "../main", &lsu_prop), STSP_ELSU);
    EXPECT(api.get_lsu_prop_byname(server, "missing", &lsu_prop), STSP_ELSU);
    EXPECT(api.create_image(server, "missing", &def, 0, &fresh), STSP_ELSU);
    EXPECT(api.open_image(server, "nosuch", &def, STSP_OPEN_READ, &fresh), STSP_ELSU);
    EXPECT(api.delete_image(server, "main", &def, 1), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", &def, 0, &fresh), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ | STSP_OPEN_WRITE, &fresh), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", &def, UINT32_MAX, &fresh), STSP_EINVAL);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_WRITE, &fresh), STSP_EBUSY);
    EXPECT(api.create_image(server, "main", &def, 0, &fresh), STSP_EBUSY);
    EXPECT(api.close_image(writer, 2), STSP_EINVAL);
    EXPECT(api.close_image(reader, UINT32_MAX), STSP_EINVAL);
    def.basename[0] = 0;
    EXPECT(api.create_image(server, "main", &def, 0, &fresh), STSP_EINVAL);
    def = definition("nosuch", 1);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, &fresh), STSP_ENOENT);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_WRITE, &fresh), STSP_ENOENT);
    EXPECT(api.delete_image(server, "main", &def, 0), STSP_ENOENT);
    def.date = UINT64_MAX;
    EXPECT(api.create_image(server, "main", &def, 0, &fresh), STSP_EINVAL);
    EXPECT(api.get_image_prop_byname(server, "main", &def, &image_info), STSP_EINVAL);
    def = definition("complete", 1);
    strcpy(def.policy, "other");
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_READ, &fresh), STSP_ENOENT);
    EXPECT(api.get_image_prop_byname(server, "main", &def, &image_info), STSP_ENOENT);
    filter.flags = 4;
    EXPECT(api.open_image_list(server, "main", &filter, &fresh), STSP_EINVAL);
    filter.flags = 0;
    filter.date_from = 2;
    filter.date_to = 1;
    EXPECT(api.open_image_list(server, "main", &filter, &fresh), STSP_EINVAL);
    CHECK(fresh == 12345);
    set_up();
}

static void offsets_and_lengths(void) {
    const uint64_t far[] = { 1, 4097, (uint64_t)1 << 40, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 1, UINT64_MAX };
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        EXPECT(api.write_image(writer, bytes, sizeof bytes, far[i] + (far[i] == 1), &done), STSP_EOFFSET);
        EXPECT(api.write_image_meta(writer, bytes, sizeof bytes, far[i], &done), STSP_EOFFSET);
        if (far[i] <= 4097)
            continue;
        OK(api.read_image(reader, bytes, sizeof bytes, far[i], &done));
        EXPECT(done, 0);
        OK(api.read_image_meta(reader, bytes, sizeof bytes, far[i], &done));
        EXPECT(done, 0);
    }
    /* More than memory can hold, with a pointer that is not NULL. */
    EXPECT(api.write_image(writer, bytes, UINT64_MAX, 0, &done), STSP_EINVAL);
    EXPECT(api.read_image(reader, bytes, (uint64_t)1 << 63, 0, &done), STSP_EINVAL);
    EXPECT(api.write_image_meta(writer, bytes, UINT64_MAX, 0, &done), STSP_EINVAL);
    EXPECT(api.read_image_meta(reader, bytes, UINT64_MAX, 0, &done), STSP_EINVAL);
    /* The wrong direction. */
    EXPECT(api.write_image(reader, bytes, 1, 0, &done), STSP_EACCESS);
    EXPECT(api.read_image(writer, bytes, 1, 0, &done), STSP_EACCESS);
    /* None of it has hurt the image. */
    OK(api.write_image(writer, "ok", 2, 0, &done));
    OK(api.get_image_prop(writer, &image_info));
    EXPECT(image_info.size, 2);
}

/* Names that would be dangerous as paths or keys come back as they went in. */
static void strange_names(void) {
    static const char *const names[] = {
        "..", ".", "/", "../../etc/passwd", "a/../b", "a b", "\xff\xfe\x01", "%2e%2e", "=", "a\nb", "catalog/x", "\xc3\xa9",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        stsp_image_def_t odd = definition("x", i);
        memset(odd.basename, 0, sizeof odd.basename);
        strcpy(odd.basename, names[i]);
        strcpy(odd.policy, names[i]);
        backup(server, &odd, 1000 + i, i);
        restore(server, &odd, 1000 + i, i);
        OK(api.get_image_prop_byname(server, "main", &odd, &image_info));
        CHECK(strcmp(image_info.basename, names[i]) == 0 && strcmp(image_info.policy, names[i]) == 0);
        OK(api.delete_image(server, "main", &odd, 0));
    }
}

void wrong(uint64_t size) {
    stsp_image_def_t complete;
    load();
    endless = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(endless != MAP_FAILED && mprotect(endless + 4096, 4096, PROT_NONE) == 0);
    memset(endless, 'x', 4096);
    set_up();
    without_init();

    init();
    init();
    server = open_server();
    complete = definition("complete", 1);
    backup(server, &complete, size, 5);
    OK(api.create_image(server, "main", &def, 0, &writer));
    OK(api.open_image(server, "main", &complete, STSP_OPEN_READ, &reader));
    OK(api.open_lsu_list(server, &lsus));
    OK(api.open_image_list(server, "main", NULL, &images));
    set_up();
    null_pointers();
    struct_sizes();
    longer_outputs();
    longer_inputs();
    misaligned_pointers();
    strings();
    values();
    offsets_and_lengths();
    strange_names();
    set_up();
    def = complete;
    bad_handles();

    /* After all that, right use still works. */
    read_all(reader, size, 5);
    OK(api.close_image(reader, 0));
    OK(api.close_image(writer, STSP_CLOSEF_COMPLETE));
    EXPECT(api.close_image(writer, STSP_CLOSEF_COMPLETE), STSP_EHANDLE);
    def = definition("wrong", 1);
    EXPECT(api.open_image(server, "main", &def, STSP_OPEN_WRITE, &fresh), STSP_EACCESS);
    EXPECT(api.create_image(server, "main", &def, 0, &fresh), STSP_EEXIST);
    EXPECT(api.close_server(server), STSP_EBUSY);
    OK(api.terminate());
    set_up();
    without_init();
    /* Handles of before a terminate stay stale after another init. */
    init();
    for (size_t i = 0; i < CALLS; i++)
        EXPECT(with_handle[i].call(server), STSP_EHANDLE);
    OK(api.terminate());
    CHECK(threads() == 1);
}
