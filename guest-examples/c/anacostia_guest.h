// Small helpers for Anacostia actions and trigger components in C. The build script defines
// `ANACOSTIA_TRIGGER` for a trigger component, which has no access to data.
//
// These helpers are optional: the functions of the host are in `guest.h`, which is generated from
// the WIT and documented there. The helpers exist because data is passed in chunks, while most
// actions need lines, or a file to print to.
//
// A function that can fail returns false and sets the error that it was given; the guest then
// passes it on with `return false`. An instance lives for one call only, so small strings that
// are made once are never freed.

#ifndef ANACOSTIA_GUEST_H
#define ANACOSTIA_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest.h"

typedef guest_string_t Text; // UTF-8: ptr and len, not NUL-terminated
typedef anacostia_pipeline_types_artifact_t Artifact;
typedef anacostia_pipeline_types_error_t Error;
#ifdef ANACOSTIA_TRIGGER
typedef exports_anacostia_pipeline_decider_decision_t Decision;
#else
typedef anacostia_pipeline_resources_list_artifact_t Artifacts;
typedef anacostia_pipeline_types_outcome_t Outcome;
#endif

// For printf: "%.*s", SHOW(artifact->path).
#define SHOW(text) (int)(text).len, (const char *)(text).ptr

// How much one call transfers: large enough that the overhead of the call is negligible. At most 8
// MiB.
#define CHUNK_BYTES (1u << 20)

#define LIKE_PRINTF(format, values) __attribute__((__format__(__printf__, format, values)))

// --- How a guest ends ---

#ifdef ANACOSTIA_TRIGGER
// The decisions that `exports_anacostia_pipeline_decider_decide` returns: a run may start, or none
// does. To be asked again without a change, set `decision->val.skip.ask_again_ms`.
bool fire(Decision *decision, const char *format, ...) LIKE_PRINTF(2, 3);
bool skip(Decision *decision, const char *format, ...) LIKE_PRINTF(2, 3);
#else
// The results that `exports_anacostia_pipeline_action_run` returns: the work is done, or there was
// nothing worth doing.
bool done(Outcome *outcome, const char *format, ...) LIKE_PRINTF(2, 3);
bool skip(Outcome *outcome, const char *format, ...) LIKE_PRINTF(2, 3);
#endif
// The result of a guest that cannot do its work. `code` is the reason, as a word to branch on, such
// as "invalid". The error is final; set `error->retryable` if another attempt may succeed.
bool fail(Error *error, const char *code, const char *format, ...) LIKE_PRINTF(3, 4);

// --- Params, logs and metrics ---

// Returns a param that is a string, or `otherwise` if it is absent or not a string.
const char *param(const char *name, const char *otherwise);
// Returns a param that is a number, or `otherwise` if it is absent or not a number.
double number_param(const char *name, double otherwise);

void log_info(const char *format, ...) LIKE_PRINTF(1, 2);

// A field of a log line.
typedef struct {
    const char *name;
    Text value;
} Field;

// Logs something unexpected that does not stop the work.
void log_warning(const Field *fields, size_t count, const char *format, ...) LIKE_PRINTF(3, 4);

// A metric of this attempt.
typedef struct {
    const char *name;
    double value;
} Metric;

bool log_metrics(const Metric *metrics, size_t count, Error *error);
bool log_param(const char *name, const char *value, Error *error);

// Prints to a new string in memory.
Text text_of(const char *format, ...) LIKE_PRINTF(1, 2);

#ifndef ANACOSTIA_TRIGGER

// --- Reading ---

bool inputs_of(const char *resource, Artifacts *inputs, Error *error);

// Reads the lines of an artifact. The artifact may be larger than memory; a line may not.
typedef struct {
    const Artifact *artifact;
    anacostia_pipeline_resources_own_reader_t reader;
    uint64_t offset;        // in the artifact, of the first byte after the chunk
    guest_list_u8_t chunk;  // the chunk that was read last
    size_t at;              // where the next line begins in the chunk
    char *rest;             // the beginning of a line that ends in another chunk
    size_t rest_length, rest_capacity;
    uint64_t number; // the number of the line that was returned last; 1 for the first
    bool ended, failed;
    Error *error;
} Lines;

bool lines_open(Lines *lines, const Artifact *artifact, Error *error);
// Sets `line` to the next line, without its line ending ("\n" or "\r\n"). The line is followed by a
// NUL, and is valid until the next call. Returns false at the end, and after a failure.
bool lines_next(Lines *lines, Text *line);
// Returns false if a call failed before.
bool lines_close(Lines *lines);

// --- Writing ---

// An artifact that is written piece by piece. `output_finish` reports errors of all calls before
// it, as `fclose` does.
typedef struct {
    anacostia_pipeline_resources_own_writer_t writer;
    uint8_t *buffer;
    size_t length;
    bool failed;
    Error *error;
} Output;

// Starts an artifact. If the path exists, the artifact becomes its next version.
bool output_open(Output *output, const char *resource, Text path, Error *error);
void output_write(Output *output, const void *bytes, size_t length);
void output_print(Output *output, const char *format, ...) LIKE_PRINTF(2, 3);
// Writes the buffered rest, and completes the artifact. The host publishes it when the attempt has
// succeeded.
bool output_finish(Output *output, Artifact *artifact);

#endif

#endif
