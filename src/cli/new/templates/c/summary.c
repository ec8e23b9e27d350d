// Counts the rows of each CSV file that arrived, and computes the mean of one of its columns.

#include <stdlib.h>
#include <string.h>

#include "anacostia_guest.h"

typedef struct {
    unsigned long long rows;
    double total;
} Sum;

static bool sum_up(const Artifact *file, const char *column, Sum *sum, Error *error);
static bool write_summary(const Artifact *file, const Sum *sum, Error *error);
static bool field(Text line, size_t place, Text *found);

bool exports_anacostia_pipeline_action_run(Outcome *outcome, Error *error) {
    const char *column = param("column", "value");
    Artifacts files;
    if (!inputs_of("readings", &files, error)) return false;

    Sum all = {0};
    for (size_t i = 0; i < files.len; i++) {
        Sum sum = {0};
        if (!sum_up(&files.ptr[i], column, &sum, error)) return false;
        log_info("%.*s has %llu rows", SHOW(files.ptr[i].path), sum.rows);
        if (sum.rows > 0 && !write_summary(&files.ptr[i], &sum, error)) return false;
        all.rows += sum.rows;
        all.total += sum.total;
    }
    if (all.rows == 0) return skip(outcome, "no rows");

    const double mean = all.total / (double)all.rows;
    const Metric metrics[] = {{"rows", (double)all.rows}, {"mean", mean}};
    if (!log_metrics(metrics, 2, error)) return false;
    return done(outcome, "%llu rows, mean %.3f", all.rows, mean);
}

// Reads a file line by line: it may be larger than memory.
static bool sum_up(const Artifact *file, const char *column, Sum *sum, Error *error) {
    Lines lines;
    Text line = {0}, text;
    if (!lines_open(&lines, file, error)) return false;
    if (!lines_next(&lines, &line) && lines.failed) return false;
    size_t place = 0;
    while (field(line, place, &text) && (text.len != strlen(column) || memcmp(text.ptr, column, text.len) != 0)) place++;
    if (!field(line, place, &text)) return fail(error, "failed", "%.*s has no column `%s`", SHOW(file->path), column);

    while (lines_next(&lines, &line)) {
        if (line.len == 0) continue;
        char *end = NULL;
        const bool found = field(line, place, &text);
        const double value = found ? strtod((const char *)text.ptr, &end) : 0;
        if (!found || text.len == 0 || end != (const char *)text.ptr + text.len) {
            return fail(error, "failed", "line %llu of %.*s: there is no number in column `%s`",
                        (unsigned long long)lines.number, SHOW(file->path), column);
        }
        sum->rows++;
        sum->total += value;
    }
    return lines_close(&lines);
}

static bool write_summary(const Artifact *file, const Sum *sum, Error *error) {
    Output output;
    Artifact written;
    if (!output_open(&output, "summaries", text_of("%.*s.json", SHOW(file->path)), error)) return false;
    output_print(&output, "{\"rows\": %llu, \"mean\": %.3f}\n", sum->rows, sum->total / (double)sum->rows);
    return output_finish(&output, &written);
}

// What stands between the commas, from 0; false if there are not so many.
static bool field(Text line, size_t place, Text *found) {
    uint8_t *from = line.ptr, *end = line.ptr + line.len;
    for (;; place--) {
        uint8_t *comma = from == end ? NULL : memchr(from, ',', (size_t)(end - from));
        if (place == 0) {
            *found = (Text){.ptr = from, .len = (size_t)((comma == NULL ? end : comma) - from)};
            return true;
        }
        if (comma == NULL) return false;
        from = comma + 1;
    }
}
