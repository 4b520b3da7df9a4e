/*
 * stsp.h: the C interface of vastost, a NetBackup OpenStorage storage-server plug-in for VAST Data clusters over S3.
 * Generated from src/ost/{abi,status}.rs and src/ost/entry/: VASTOST_UPDATE_HEADER=1 cargo test --test plugin header
 *
 * How to write a host. Load the library (dlopen, RTLD_NOW | RTLD_LOCAL) or link with it, then call in this order:
 *
 *   stsp_init, stsp_claim            once a process; neither starts a thread nor opens a socket
 *   stsp_open_server                 reads vastost.toml; give credentials if the configuration says "netbackup"
 *   stsp_open_lsu_list ...           which LSUs there are; stsp_get_lsu_prop_byname for one
 *   stsp_create_image, stsp_write_image ..., stsp_close_image(STSP_CLOSEF_COMPLETE)     a backup
 *   stsp_open_image, stsp_read_image ..., stsp_close_image(0)                           a restore
 *   stsp_close_server, stsp_terminate    terminate joins every thread of the plug-in
 *
 * Results   Every function returns STSP_OK (0) or a STSP_E* code, and writes outputs only when it returns STSP_OK. A
 *           failed write may be one of earlier bytes: writes are buffered, and only stsp_close_image with
 *           STSP_CLOSEF_COMPLETE returning STSP_OK means that the image is on the store. Check it.
 * Structs   Set struct_size to sizeof of the struct before every call, for inputs and for outputs; zero the rest.
 *           Structs grow at their end only, and a host runs with a plug-in that was built with an older or a newer stsp.h:
 *           what an older host's input lacks counts as 0; a newer host's input must be 0 where the plug-in does not know
 *           it, and 4,096 bytes long at most, else STSP_EINVAL; an output is filled as far as both know it, and its
 *           struct_size then says how far that is.
 * Strings   End with NUL, in the struct's field too; at most 4,095 bytes by pointer. Names are bytes of any encoding.
 * Handles   Numbers, valid in this process until closed. A closed, foreign or invented one gives STSP_EHANDLE.
 * Buffers   Are yours, and used only until the call returns.
 * Threads   Any thread may call any function. Two handles work side by side; calls on one handle queue up, so for speed
 *           use one thread per image. stsp_terminate ends calls that other threads are in with STSP_EABORT. A thread whose
 *           thread-local storage is gone (handlers of atexit, destructors of pthread_key_create and of C++) may call
 *           stsp_terminate alone: every other call does nothing there and gives STSP_EABORT.
 * Fork      The child may go on with server handles; images and lists of the parent give STSP_EHANDLE in it. Fork from
 *           a thread that is not inside a call. The parent notices nothing.
 * Signals   The plug-in installs no handler; its threads block all signals. Nothing raises SIGPIPE or SIGXFSZ in yours.
 * Copies    A process may load two copies of the plug-in. A handle of the one gives STSP_EHANDLE in the other, and what
 *           the one writes the other neither opens for write nor deletes.
 * Memory    A call that begins with less than 32 MiB left of RLIMIT_AS, RLIMIT_DATA or the control group's memory limit
 *           returns STSP_ENOMEM and has done nothing, but that stsp_close_image has closed the handle; closing a server or
 *           a list and stsp_terminate always run. What a call needs beyond that is asked for and may be refused, with
 *           STSP_ENOMEM too; a process whose memory ends within a call for small things of a few KiB is aborted by the
 *           plug-in, as by most of the C++ around it.
 * Stacks    A thread that calls needs STSP_STACK_MIN bytes of stack left.
 * Limits    The first call that needs the store starts all threads that the plug-in will ever need in the process: io_threads
 *           and six more. Where they, or descriptors, are not to be had, calls return STSP_ESYSCALL and change nothing.
 * Unwinding Nothing may unwind through a call: an exception that leaves the log function ends the process, and so does
 *           longjmp out of it. pthread_cancel of a thread in a call waits until the call has returned, and takes effect at
 *           the thread's next cancellation point; threads with PTHREAD_CANCEL_ASYNCHRONOUS must not call.
 * Messages  stsp_session_t.log receives one line for each failure, on the calling thread, before the call returns.
 *
 * A backup, whole:
 *
 *     #include <string.h>
 *     #include "stsp.h"
 *
 *     int32_t backup(const char *name, uint64_t now, const char *data, uint64_t size) {
 *         stsp_plugin_info_t info = { sizeof info };
 *         stsp_image_def_t def = { sizeof def };
 *         stsp_handle_t server, image;
 *         uint64_t done = 0, written;
 *         int32_t rc = stsp_init(STSP_ABI_VERSION, &info), closed;
 *         if (rc == STSP_OK)
 *             rc = stsp_open_server(NULL, STSP_PREFIX "vast1", NULL, NULL, &server);
 *         if (rc != STSP_OK)
 *             return rc;
 *         def.date = now;
 *         strncpy(def.basename, name, sizeof def.basename - 1);
 *         rc = stsp_create_image(server, "nightly", &def, 0, &image);
 *         if (rc == STSP_OK) {
 *             for (; rc == STSP_OK && done < size; done += written) {
 *                 uint64_t len = size - done < 262144 ? size - done : 262144;
 *                 rc = stsp_write_image(image, data + done, len, done, &written);
 *             }
 *             closed = stsp_close_image(image, rc == STSP_OK ? STSP_CLOSEF_COMPLETE : 0);
 *             rc = rc == STSP_OK ? closed : rc;
 *         }
 *         stsp_close_server(server);
 *         stsp_terminate();
 *         return rc;
 *     }
 */


#ifndef STSP_H
#define STSP_H

#include <stdint.h>

// What server names of this plug-in begin with.
#define STSP_PREFIX "VastData:"

// The version of this header. `stsp_init` refuses a host that was compiled with another one.
#define STSP_ABI_VERSION 1

// Bytes of an image's basename or policy, with the terminating NUL.
#define STSP_NAME_SIZE 256

// Bytes of an LSU's name, with the terminating NUL.
#define STSP_LSU_NAME_SIZE 64

// A value that is never a handle.
#define STSP_NO_HANDLE 0

// Bytes of stack that a call of ours needs on the host's thread.
#define STSP_STACK_MIN 65536

// Capability of a server: its LSUs are disks.
#define STSP_SRV_DISK 1

// Capability of a server: `stsp_open_server` needs `stsp_cred_t`, by its configuration.
#define STSP_SRV_CRED 2

// Capability of a server: images carry metadata (`stsp_write_image_meta`).
#define STSP_SRV_IMAGE_META 4

// Capability of a server: an image closed incomplete can be opened for write again.
#define STSP_SRV_REOPEN 8

// Flag of an LSU: it is a disk.
#define STSP_LSUF_DISK 1

// Flag of an LSU: its bucket answered.
#define STSP_LSUF_ACTIVE 2

// Flag of an LSU: `capacity_bytes` is configured; without it the capacity is unknown.
#define STSP_LSUF_CAPACITY_KNOWN 4

// Flag of an LSU: `used_bytes` and `images` are counted by this host; without it they are unknown.
#define STSP_LSUF_USED_KNOWN 8

// Mode of `stsp_open_image`: read.
#define STSP_OPEN_READ 1

// Mode of `stsp_open_image`: go on writing an image that was closed incomplete.
#define STSP_OPEN_WRITE 2

// Flag of `stsp_close_image`: the image is complete and can never be written again.
#define STSP_CLOSEF_COMPLETE 1

// State of an image: not complete yet.
#define STSP_II_IMAGE_PENDING 1

// State of an image: complete.
#define STSP_II_IMAGE_CREATED 2

// State of an image: a writer has it.
#define STSP_II_BUSY_WRITE 4

// Flag of `stsp_image_filter_t`: list complete images.
#define STSP_LISTF_COMPLETE 1

// Flag of `stsp_image_filter_t`: list pending images.
#define STSP_LISTF_PENDING 2

// Severity of a log message: detail.
#define STSP_LOG_DEBUG 2

// Severity of a log message: information.
#define STSP_LOG_INFO 4

// Severity of a log message: something is odd, and the plug-in went on.
#define STSP_LOG_WARN 8

// Severity of a log message: a call failed.
#define STSP_LOG_ERROR 16

// Success.
#define STSP_OK 0

// One or more invalid arguments.
#define STSP_EINVAL 2060001

// Memory: the pool budget cannot serve the call.
#define STSP_ENOMEM 2060002

// Object is busy.
#define STSP_EBUSY 2060005

// Offset invalid for object or context.
#define STSP_EOFFSET 2060011

// No more entries.
#define STSP_EOFLIST 2060013

// Operation aborted.
#define STSP_EABORT 2060014

// System call failed.
#define STSP_ESYSCALL 2060017

// Image not found.
#define STSP_ENOENT 2060018

// Error occurred on network socket.
#define STSP_ENETWORK 2060019

// Software error: a fault of the plug-in.
#define STSP_ESOFTWARE 2060022

// Authorization failure: the store does not accept the credentials.
#define STSP_EAUTH 2060029

// Access not allowed.
#define STSP_EACCESS 2060037

// Plug-in error: none of the others.
#define STSP_EPLUGIN 2060046

// The image is WORM-locked: a retention period or a legal hold of the store has not ended.
#define STSP_EWORM 2060069

// The handle is closed, of another kind, or never was.
#define STSP_EHANDLE 2060901

// The image exists.
#define STSP_EEXIST 2060902

// The LSU is not configured, or its bucket does not exist.
#define STSP_ELSU 2060903

// The server is not this plug-in's, or not configured.
#define STSP_ESERVER 2060904

// No space: the store or a quota is full, or the image is larger than configured.
#define STSP_ENOSPC 2060905

// A deadline passed.
#define STSP_ETIMEOUT 2060906

// Data or records are not what was written.
#define STSP_ECORRUPT 2060907

// Not supported by the plug-in or the store.
#define STSP_ENOTSUP 2060908

// The configuration is wrong.
#define STSP_ECONFIG 2060909

// Called before stsp_init or after stsp_terminate.
#define STSP_EINIT 2060910

// The store answers, but with server errors after all retries.
#define STSP_EUNAVAIL 2060911

// What the plug-in says of itself.
typedef struct stsp_plugin_info_t {
    uint32_t struct_size;
    uint32_t abi_version;
    // STSP_PREFIX.
    char prefix[32];
    char version[32];
    char vendor[64];
} stsp_plugin_info_t;

// Receives one message, NUL-terminated, valid during the call. Called only on the thread of an `stsp_*` call, before
// that call returns. It must not call `stsp_*` functions.
typedef void (*stsp_log_fn)(void *context, int32_t severity, const char *message);

// How a host wants to be served; copied by `stsp_open_server`.
typedef struct stsp_session_t {
    uint32_t struct_size;
    // Messages below this STSP_LOG_* severity are not delivered; 0 delivers STSP_LOG_INFO and above.
    int32_t severity_min;
    // May be NULL: then messages go to the plug-in's own log only.
    stsp_log_fn log;
    // Handed to `log` as it is; must stay valid until the server is closed.
    void *log_context;
    // Path of vastost.toml, or NULL for VASTOST_CONFIG, else the file beside the plug-in, else
    // /etc/vastost/vastost.toml.
    const char *config_file;
} stsp_session_t;

// Credentials as the host has stored them; copied by `stsp_open_server`. Strings of at most 4,095 bytes.
typedef struct stsp_cred_t {
    uint32_t struct_size;
    uint32_t reserved;
    // S3 access key id.
    const char *user;
    // S3 secret access key; with temporary keys a newline and the session token behind it.
    const char *password;
} stsp_cred_t;

// A server, LSU list, image or image list that is open in this process. A number, never a pointer; no number is given
// twice. A handle that is closed or of another kind gives STSP_EHANDLE. Two threads may use one handle: their calls
// run one after the other.
typedef uint64_t stsp_handle_t;

// An open server.
typedef struct stsp_server_prop_t {
    uint32_t struct_size;
    uint32_t reserved;
    // STSP_SRV_* bits.
    uint64_t capabilities;
    // Largest image, bytes.
    uint64_t image_size_max;
    // Most bytes of one read or write call.
    uint64_t transfer_max;
    // Reads and writes are cheapest in multiples of this, bytes; any length is taken.
    uint32_t block_size;
    // LSUs in the configuration, without discovered ones.
    uint32_t lsu_count;
    // With the prefix.
    char name[128];
    // URL of the cluster.
    char endpoint[256];
} stsp_server_prop_t;

// A logical storage unit.
typedef struct stsp_lsu_prop_t {
    uint32_t struct_size;
    // STSP_LSUF_* bits.
    uint32_t flags;
    // Bytes that the LSU can hold; 0 without STSP_LSUF_CAPACITY_KNOWN.
    uint64_t capacity_bytes;
    // Bytes of complete images.
    uint64_t used_bytes;
    // Complete images.
    uint64_t images;
    char name[STSP_LSU_NAME_SIZE];
    char bucket[STSP_LSU_NAME_SIZE];
    // What `stsp_label_lsu` set.
    char label[STSP_NAME_SIZE];
    // From the configuration.
    char description[STSP_NAME_SIZE];
} stsp_lsu_prop_t;

// An image's definition: basename and date identify it within its LSU.
typedef struct stsp_image_def_t {
    uint32_t struct_size;
    // The host's own number; 0 matches any in opens, deletes and queries.
    uint32_t image_type;
    // Seconds since 1970, UTC; at most 253402207200.
    uint64_t date;
    // Not empty. Escaped for S3, it may grow to three times its length; 222 bytes fit then with a date of ten digits.
    char basename[STSP_NAME_SIZE];
    // Empty matches any in opens, deletes and queries.
    char policy[STSP_NAME_SIZE];
} stsp_image_def_t;

// An image's properties.
typedef struct stsp_image_info_t {
    uint32_t struct_size;
    // STSP_II_* bits.
    uint32_t flags;
    // Bytes of the image, exact; while it is written, the bytes taken so far.
    uint64_t size;
    // Seconds since 1970, UTC.
    uint64_t created;
    // Seconds since 1970, UTC; 0 until the image is complete.
    uint64_t completed;
    uint32_t image_type;
    uint32_t reserved;
    uint64_t date;
    char basename[STSP_NAME_SIZE];
    char policy[STSP_NAME_SIZE];
    char lsu[STSP_LSU_NAME_SIZE];
} stsp_image_info_t;

// Which images to list.
typedef struct stsp_image_filter_t {
    uint32_t struct_size;
    // STSP_LISTF_* bits; 0 lists all.
    uint32_t flags;
    // Seconds since 1970, UTC, included.
    uint64_t date_from;
    // Seconds since 1970, UTC, included; 0 means no end.
    uint64_t date_to;
    // Only images of this client (the basename up to `_<ctime>_C<copy>_...`, or "other"); empty means all.
    char client[STSP_NAME_SIZE];
    // Only basenames that begin so; empty means all.
    char basename_prefix[STSP_NAME_SIZE];
} stsp_image_filter_t;

// One image of a list. Policy and type are in `stsp_get_image_prop_byname`.
typedef struct stsp_image_entry_t {
    uint32_t struct_size;
    // STSP_II_IMAGE_CREATED or STSP_II_IMAGE_PENDING.
    uint32_t flags;
    uint64_t date;
    char basename[STSP_NAME_SIZE];
} stsp_image_entry_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Prepares the plug-in. Starts no thread and opens no socket. May be called again; that changes nothing.
// Takes the STSP_ABI_VERSION that the host was compiled with. Fills `info` (may not be NULL).
// Returns STSP_OK; STSP_EINVAL for NULL, a short struct_size or another version.
int32_t stsp_init(uint32_t abi_version, struct stsp_plugin_info_t *info);

// Says whether a storage server is this plug-in's: a test of the prefix "VastData:" and nothing else.
// Takes a NUL-terminated name; may be called before stsp_init.
// Returns STSP_OK when it is; STSP_ESERVER when not; STSP_EINVAL for NULL or a name of 4,096 bytes and more.
int32_t stsp_claim(const char *server_name);

// Closes every handle without completing anything, then stops and joins all threads of the plug-in. Images that were
// open for write stay pending. stsp_init may follow. Calls under way in other threads end with STSP_EABORT. Takes up to
// 10 s, and leaves a thread behind, where a name server does not answer; up to 30 s where a call of the host's own does not end.
// Returns STSP_OK, also when there is nothing to do.
int32_t stsp_terminate(void);

// Opens a storage server: reads the configuration, sends nothing yet.
// Takes the session (or NULL: no messages, configuration from the usual places), the name "VastData:<name>", the
// credentials (or NULL where the configuration names another source) and the network interface that the host prefers
// (or NULL; not used). Gives a handle in `server`.
// Returns STSP_OK; STSP_EINVAL; STSP_EINIT; STSP_ESERVER for a foreign or unconfigured name; STSP_ECONFIG;
// STSP_EAUTH when credentials are needed and missing.
int32_t stsp_open_server(const struct stsp_session_t *session,
                         const char *server_name,
                         const struct stsp_cred_t *cred,
                         const char *interface,
                         stsp_handle_t *server);

// Closes a server. Returns STSP_OK; STSP_EHANDLE; STSP_EBUSY while images or lists of it are open (it stays open).
int32_t stsp_close_server(stsp_handle_t server);

// Fills `prop` with the properties of an open server. Sends nothing.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE.
int32_t stsp_get_server_prop(stsp_handle_t server, struct stsp_server_prop_t *prop);

// Like stsp_get_server_prop for a server that is not open; arguments and codes as of stsp_open_server. Sends nothing.
int32_t stsp_get_server_prop_byname(const struct stsp_session_t *session,
                                    const char *server_name,
                                    const struct stsp_cred_t *cred,
                                    struct stsp_server_prop_t *prop);

// Opens a list of the server's LSUs; gives a handle in `list`. With discovery configured it asks for the buckets.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; store errors (STSP_ENETWORK, STSP_EAUTH, STSP_EACCESS, STSP_ETIMEOUT,
// STSP_EUNAVAIL).
int32_t stsp_open_lsu_list(stsp_handle_t server,
                           stsp_handle_t *list);

// Fills `prop` with the next LSU. One whose bucket is missing or refused comes without STSP_LSUF_ACTIVE.
// Returns STSP_OK; STSP_EOFLIST after the last one; STSP_EINVAL; STSP_EHANDLE; store errors, after which the same LSU
// is tried again.
int32_t stsp_list_lsu(stsp_handle_t list,
                      struct stsp_lsu_prop_t *prop);

// Closes an LSU list. Returns STSP_OK; STSP_EHANDLE.
int32_t stsp_close_lsu_list(stsp_handle_t list);

// Fills `prop` with the properties of one LSU; one request to the store.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU when it is not configured or its bucket does not exist; store
// errors.
int32_t stsp_get_lsu_prop_byname(stsp_handle_t server,
                                 const char *lsu_name,
                                 struct stsp_lsu_prop_t *prop);

// Sets the label of an LSU for all hosts: UTF-8, at most 255 bytes, empty to remove it.
// Returns as stsp_get_lsu_prop_byname.
int32_t stsp_label_lsu(stsp_handle_t server, const char *lsu_name, const char *label);

// Creates an image and opens it for write; gives a handle in `image`. The image is pending until a complete close.
// `pending_flag` is the host's hint that it will create another image soon; any value is taken.
// Returns STSP_OK; STSP_EINVAL (also for a name that is too long); STSP_EHANDLE; STSP_ELSU; STSP_EEXIST when the image
// exists, complete or pending; STSP_EBUSY when it is open in this process; STSP_ENOMEM when the pool budget is
// promised to other images; store errors.
int32_t stsp_create_image(stsp_handle_t server,
                          const char *lsu_name,
                          const struct stsp_image_def_t *def,
                          uint32_t pending_flag,
                          stsp_handle_t *image);

// Opens an image; gives a handle in `image`. `mode` is STSP_OPEN_READ, or STSP_OPEN_WRITE to go on writing an image
// that was closed incomplete, on this or another host.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT; STSP_EBUSY when it is being written or, for
// STSP_OPEN_WRITE, open here at all; STSP_EACCESS for STSP_OPEN_WRITE of a complete image; STSP_ECORRUPT for a damaged
// record; STSP_ENOMEM; store errors.
int32_t stsp_open_image(stsp_handle_t server,
                        const char *lsu_name,
                        const struct stsp_image_def_t *def,
                        uint32_t mode,
                        stsp_handle_t *image);

// Writes `len` bytes at `offset`: behind the last byte, or over bytes of the part that is still open. May return
// before the bytes are on the store: an error that shows later is returned by the next write or by the close, once.
// Waits while the pool has no buffer free. Gives `len` in `written` when it succeeds. Fastest with 256 KiB and more a
// call.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EACCESS when open for reading; STSP_EOFFSET for another offset (the
// image stays usable); STSP_ENOSPC; STSP_ETIMEOUT; store errors of earlier writes.
int32_t stsp_write_image(stsp_handle_t image,
                         const void *buffer,
                         uint64_t len,
                         uint64_t offset,
                         uint64_t *written);

// Reads up to `len` bytes from `offset` on; gives how many in `read`, fewer only at the end of the image, 0 behind it.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EACCESS when open for writing; STSP_ECORRUPT when bytes are not
// what was written; STSP_ENOENT when the data are gone; STSP_ENOMEM when the pool budget is reserved for other images,
// at the first read; store errors. After an error `buffer` may hold anything.
int32_t stsp_read_image(stsp_handle_t image,
                        void *buffer,
                        uint64_t len,
                        uint64_t offset,
                        uint64_t *read);

// Waits until all full parts of an image open for write are on the store (the open part is not sent); saves changed
// metadata of an image open for reading. Returns STSP_OK; STSP_EHANDLE; store errors.
int32_t stsp_flush(stsp_handle_t image);

// Closes an image; the handle is gone whatever is returned, but for STSP_EINVAL. For an image open for write, `flags`
// is STSP_CLOSEF_COMPLETE (STSP_OK then means that data and sidecar are confirmed on the store, and the image can
// never be written again) or 0 (it stays pending, readable, and can be opened for write again).
// Returns STSP_OK; STSP_EINVAL for unknown flags; STSP_EHANDLE; STSP_EEXIST when another writer completed it
// meanwhile; STSP_ENOMEM (the image stays pending); store errors, also of earlier writes.
int32_t stsp_close_image(stsp_handle_t image,
                         uint32_t flags);

// Deletes an image by its definition, complete or pending. `flags` must be 0. Finishes a delete that was interrupted.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT when there is none, or none with that policy or
// type; STSP_EBUSY while it is open in this process; store errors.
int32_t stsp_delete_image(stsp_handle_t server,
                          const char *lsu_name,
                          const struct stsp_image_def_t *def,
                          uint32_t flags);

// Fills `info` with the properties of an open image; while it is written, `size` is what was taken so far.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE.
int32_t stsp_get_image_prop(stsp_handle_t image, struct stsp_image_info_t *info);

// Fills `info` with the properties of an image by its definition, complete or pending.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU; STSP_ENOENT; STSP_ECORRUPT for a damaged record; store
// errors.
int32_t stsp_get_image_prop_byname(stsp_handle_t server,
                                   const char *lsu_name,
                                   const struct stsp_image_def_t *def,
                                   struct stsp_image_info_t *info);

// Writes image metadata, the host's own bytes beside the image: `len` at `offset`, over what is there or behind it, 64
// MiB in all. Of an image open for write they are saved by the close, of one open for reading by stsp_flush or the
// close.
// Gives `len` in `written`. Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_EOFFSET for a gap; STSP_EACCESS for a
// pending image open for reading; store errors.
int32_t stsp_write_image_meta(stsp_handle_t image,
                              const void *buffer,
                              uint64_t len,
                              uint64_t offset,
                              uint64_t *written);

// Reads image metadata from `offset` on; gives how many bytes in `read`, fewer only at their end.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ECORRUPT; store errors.
int32_t stsp_read_image_meta(stsp_handle_t image,
                             void *buffer,
                             uint64_t len,
                             uint64_t offset,
                             uint64_t *read);

// Opens a list of the images of an LSU; gives a handle in `list`. `filter` may be NULL: all images. Images that come
// or go while the list is read may be in it or not; all others are, once.
// Returns STSP_OK; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU.
int32_t stsp_open_image_list(stsp_handle_t server,
                             const char *lsu_name,
                             const struct stsp_image_filter_t *filter,
                             stsp_handle_t *list);

// Fills `entry` with the next image: complete ones first, then pending ones.
// Returns STSP_OK; STSP_EOFLIST after the last one; STSP_EINVAL; STSP_EHANDLE; STSP_ELSU when the bucket does not
// exist; store errors.
int32_t stsp_list_image(stsp_handle_t list,
                        struct stsp_image_entry_t *entry);

// Closes an image list. Returns STSP_OK; STSP_EHANDLE.
int32_t stsp_close_image_list(stsp_handle_t list);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* STSP_H */
