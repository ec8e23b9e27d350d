// Records the mean, the minimum, the maximum and the number of the values in sensor readings.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anacostia_guest.h"

static const char HEADER[] = "sensor,value";

typedef struct {
    unsigned long long count;
    double sum, least, greatest;
} Summary;

static bool add_file(Summary *summary, const Artifact *file, Error *error);
static bool read_header(Lines *lines, Error *error);
static bool read_value(const Lines *lines, Text line, double *value, Error *error);

bool exports_anacostia_pipeline_action_run(Outcome *outcome, Error *error) {
    const char *from = param("from", "clean");
    Artifacts files;
    if (!inputs_of(from, &files, error)) return false;

    Summary summary = {.least = INFINITY, .greatest = -INFINITY};
    for (size_t i = 0; i < files.len; i++) {
        if (!add_file(&summary, &files.ptr[i], error)) return false;
    }
    if (summary.count == 0) return skip(outcome, "no values in %s", from);

    const double mean = summary.sum / (double)summary.count;
    const Metric metrics[] = {
        {"mean", mean}, {"min", summary.least}, {"max", summary.greatest}, {"count", (double)summary.count}};
    if (!log_metrics(metrics, 4, error) || !log_param("language", "c", error)) return false;
    log_info("mean %.3f of %llu values in %zu files", mean, summary.count, files.len);
    return done(outcome, "mean %.3f of %llu values", mean, summary.count);
}

static bool add_file(Summary *summary, const Artifact *file, Error *error) {
    Lines lines;
    Text line;
    double value;
    if (!lines_open(&lines, file, error) || !read_header(&lines, error)) return false;
    while (lines_next(&lines, &line)) {
        if (line.len == 0) continue;
        if (!read_value(&lines, line, &value, error)) return false;
        summary->count++;
        summary->sum += value;
        summary->least = fmin(summary->least, value);
        summary->greatest = fmax(summary->greatest, value);
    }
    return lines_close(&lines);
}

static bool read_header(Lines *lines, Error *error) {
    Text header = {0};
    if (!lines_next(lines, &header) && lines->failed) return false;
    if (header.len == strlen(HEADER) && memcmp(header.ptr, HEADER, header.len) == 0) return true;
    return fail(error, "invalid", "%.*s begins with \"%.*s\", not with \"%s\"", SHOW(lines->artifact->path), SHOW(header), HEADER);
}

// Returns the text after the first comma.
static bool read_value(const Lines *lines, Text line, double *value, Error *error) {
    const char *comma = memchr(line.ptr, ',', line.len), *end = (const char *)line.ptr + line.len;
    const char *text = comma == NULL ? end : comma + 1;
    char *behind;
    *value = strtod(text, &behind);
    if (behind != text && behind == end) return true;
    return fail(error, "failed", "line %llu of %.*s: \"%s\" is not a number", (unsigned long long)lines->number,
                SHOW(lines->artifact->path), text);
}
