/* A host of the plug-in, for the tests: loads it as NetBackup does, and ends with 1 at the first surprise. */
#ifndef HOST_H
#define HOST_H

#include <stddef.h>
#include <stdint.h>
#include "stsp.h"

#define FUNCTIONS(X) \
    X(init) X(claim) X(terminate) X(open_server) X(close_server) X(get_server_prop) X(get_server_prop_byname) \
    X(open_lsu_list) X(list_lsu) X(close_lsu_list) X(get_lsu_prop_byname) X(label_lsu) X(create_image) X(open_image) \
    X(write_image) X(read_image) X(flush) X(close_image) X(delete_image) X(get_image_prop) X(get_image_prop_byname) \
    X(write_image_meta) X(read_image_meta) X(open_image_list) X(list_image) X(close_image_list)

#define MEMBER(name) __typeof__(stsp_##name) *name;
struct api { FUNCTIONS(MEMBER) };
extern struct api api;

#define CALL_SIZE 262144u

void expect(int64_t got, int64_t wanted, const char *what, const char *file, int line);
void check(int holds, const char *what, const char *file, int line);
#define EXPECT(call, wanted) expect((call), (wanted), #call, __FILE__, __LINE__)
#define OK(call) EXPECT(call, STSP_OK)
#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

/* Loads the library named on the command line; NULL when it is loaded already and only counted again. */
void load(void);
void unload(void);
void init(void);
/* The server of the configuration, told to put its messages into `last_message`. */
stsp_handle_t open_server(void);
extern char last_message[4096];
extern int messages;

/* Things of this process, from /proc/self. */
int threads(void);
int sockets(void);

/* Bytes that depend on seed and offset. */
void fill(unsigned char *buffer, uint64_t len, uint64_t seed, uint64_t offset);
int filled(const unsigned char *buffer, uint64_t len, uint64_t seed, uint64_t offset);

stsp_image_def_t definition(const char *client, uint64_t number);
void write_all(stsp_handle_t image, uint64_t from, uint64_t to, uint64_t seed);
void read_all(stsp_handle_t image, uint64_t size, uint64_t seed);
void backup(stsp_handle_t server, const stsp_image_def_t *def, uint64_t size, uint64_t seed);
void restore(stsp_handle_t server, const stsp_image_def_t *def, uint64_t size, uint64_t seed);
void sleep_ms(unsigned ms);

/* The cases; `size` is the last argument of the command line. */
void load_only(uint64_t size);
void life(uint64_t size);
void forks(uint64_t size);
void traffic(uint64_t rounds);
void many(uint64_t processes);
void crowd(uint64_t images);
void reopened(uint64_t images);
void wrong(uint64_t size);
void shared_handle(uint64_t size);
void close_races(uint64_t rounds);
void terminate_races(uint64_t rounds);
void stalled(uint64_t size);
void own_lines(uint64_t calls);
void too_late(uint64_t size);
void broken(uint64_t size);
void chatty(uint64_t size);
void few_threads(uint64_t most);
void little_memory(uint64_t calls);
void cancelled(uint64_t unused);
void small_stack(uint64_t size);
void two_copies(uint64_t size);
void closed_streams(uint64_t size);
/* Steps for the crash tests; the number names the image. */
void step_one(uint64_t number);
void step_many(uint64_t number);
void step_incomplete(uint64_t number);
void step_finish(uint64_t number);
void step_delete(uint64_t number);
void step_overwrite(uint64_t number);
void step_rewrite(uint64_t number);
void check_state(uint64_t number);
void resume(uint64_t number);

extern const char *config_path;

#endif
