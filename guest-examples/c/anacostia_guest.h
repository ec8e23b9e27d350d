// Small helpers for Anacostia actions in C.
//
// Nothing here is needed: the functions of the host are in `guest.h`, which is made from
// `wit/pipeline.wit`, and everything is described there. It is here because data moves in chunks,
// and most actions want lines, or a file to print into.
//
// A function that can fail returns false and fills in the error that it was given; an action hands
// it on: `return false`. An instance lives for one attempt only, so texts that are small and made
// once are never freed.

#ifndef ANACOSTIA_GUEST_H
#define ANACOSTIA_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest.h"

typedef guest_string_t Text; // UTF-8: ptr and len, and nothing ends it
typedef anacostia_pipeline_types_artifact_t Artifact;
typedef anacostia_pipeline_resources_list_artifact_t Artifacts;
typedef anacostia_pipeline_types_error_t Error;
typedef anacostia_pipeline_types_outcome_t Outcome;

// For printf: "%.*s", SHOW(artifact->path).
#define SHOW(text) (int)(text).len, (const char *)(text).ptr

// How much is moved at once: large enough that the calls cost nothing beside the bytes. At most 8
// MiB.
#define CHUNK_BYTES (1u << 20)

#define LIKE_PRINTF(format, values) __attribute__((__format__(__printf__, format, values)))

// --- How an action ends ---

// What `exports_anacostia_pipeline_action_run` returns: the work is done, there was nothing worth
// doing, or it went wrong.
bool done(Outcome *outcome, const char *format, ...) LIKE_PRINTF(2, 3);
bool skip(Outcome *outcome, const char *format, ...) LIKE_PRINTF(2, 3);
// `code` is a word to branch on, such as "invalid". The error is final; set `error->retryable` if
// another try may succeed.
bool fail(Error *error, const char *code, const char *format, ...) LIKE_PRINTF(3, 4);

// --- What it was told, and what it tells ---

// A param that is a string, or `otherwise` where it is absent or something else.
const char *param(const char *name, const char *otherwise);

void log_info(const char *format, ...) LIKE_PRINTF(1, 2);

// A field of a log line.
typedef struct {
    const char *name;
    Text value;
} Field;

// A line about something that is odd, and does not stop the work.
void log_warning(const Field *fields, size_t count, const char *format, ...) LIKE_PRINTF(3, 4);

// A metric of this attempt.
typedef struct {
    const char *name;
    double value;
} Metric;

bool log_metrics(const Metric *metrics, size_t count, Error *error);
bool log_param(const char *name, const char *value, Error *error);

// A text that is printed into memory.
Text text_of(const char *format, ...) LIKE_PRINTF(1, 2);

// --- Reading ---

bool inputs_of(const char *resource, Artifacts *inputs, Error *error);

// The lines of an artifact. It may be larger than memory; a line may not.
typedef struct {
    const Artifact *artifact;
    anacostia_pipeline_resources_own_reader_t reader;
    uint64_t offset;        // of what comes after the chunk, in the artifact
    guest_list_u8_t chunk;  // what was read last
    size_t at;              // where the next line begins in it
    char *rest;             // the begin of a line whose end is in another chunk
    size_t rest_length, rest_capacity;
    uint64_t number; // of the line that was returned last; 1 for the first
    bool ended, failed;
    Error *error;
} Lines;

bool lines_open(Lines *lines, const Artifact *artifact, Error *error);
// The next line, without what ends it ("\n" or "\r\n"). It has a NUL behind it, and is there until
// the next call. False at the end, and when something went wrong.
bool lines_next(Lines *lines, Text *line);
// False if something went wrong on the way.
bool lines_close(Lines *lines);

// --- Writing ---

// An artifact that is written piece by piece. What goes wrong is told by `output_finish`, as
// `fclose` does.
typedef struct {
    anacostia_pipeline_resources_own_writer_t writer;
    uint8_t *buffer;
    size_t length;
    bool failed;
    Error *error;
} Output;

// A path that exists gets its next version.
bool output_open(Output *output, const char *resource, Text path, Error *error);
void output_write(Output *output, const void *bytes, size_t length);
void output_print(Output *output, const char *format, ...) LIKE_PRINTF(2, 3);
// Write what is left, and complete the artifact. It is published when the attempt has succeeded.
bool output_finish(Output *output, Artifact *artifact);

#endif
