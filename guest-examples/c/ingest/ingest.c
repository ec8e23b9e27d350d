// Removes the rows from sensor readings whose value is not a finite number.

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anacostia_guest.h"

static const char HEADER[] = "sensor,value";

typedef struct {
    unsigned long long kept, dropped;
} Counts;

static bool clean(const Artifact *file, const char *to, Counts *counts, Error *error);
static bool read_header(Lines *lines, Error *error);
static void drop(const Artifact *file, uint64_t number, const char *value);
static bool is_finite_number(const char *text, size_t length);

bool exports_anacostia_pipeline_action_run(Outcome *outcome, Error *error) {
    const char *from = param("from", "readings"), *to = param("to", "clean");
    Artifacts files;
    if (!inputs_of(from, &files, error)) return false;
    if (files.len == 0) return skip(outcome, "no inputs in %s", from);

    Counts counts = {0, 0};
    for (size_t i = 0; i < files.len; i++) {
        if (!clean(&files.ptr[i], to, &counts, error)) return false;
    }

    const Metric metrics[] = {{"rows_kept", (double)counts.kept}, {"rows_dropped", (double)counts.dropped}};
    if (!log_metrics(metrics, 2, error)) return false;
    return done(outcome, "kept %llu rows of %zu files, dropped %llu", counts.kept, files.len, counts.dropped);
}

// Writes the rows that are kept to the same path.
static bool clean(const Artifact *file, const char *to, Counts *counts, Error *error) {
    Lines lines;
    Output output;
    Artifact written;
    Text line;
    if (!lines_open(&lines, file, error) || !read_header(&lines, error)) return false;
    if (!output_open(&output, to, file->path, error)) return false;
    output_print(&output, "%s\n", HEADER);
    while (lines_next(&lines, &line)) {
        if (line.len == 0) continue;
        const uint8_t *end = line.ptr + line.len, *comma = memchr(line.ptr, ',', line.len);
        const char *value = (const char *)(comma == NULL ? end : comma + 1);
        if (is_finite_number(value, (size_t)((const char *)end - value))) {
            counts->kept++;
            output_write(&output, line.ptr, line.len);
            output_write(&output, "\n", 1);
        } else {
            counts->dropped++;
            drop(file, lines.number, value);
        }
    }
    return lines_close(&lines) && output_finish(&output, &written);
}

static bool read_header(Lines *lines, Error *error) {
    Text header = {0};
    if (!lines_next(lines, &header) && lines->failed) return false;
    if (header.len == strlen(HEADER) && memcmp(header.ptr, HEADER, header.len) == 0) return true;
    return fail(error, "invalid", "%.*s begins with \"%.*s\", not with \"%s\"", SHOW(lines->artifact->path), SHOW(header), HEADER);
}

static void drop(const Artifact *file, uint64_t number, const char *value) {
    const Field fields[] = {{"path", file->path}, {"line", text_of("%llu", (unsigned long long)number)}};
    log_warning(fields, 2, "dropped line %llu of %.*s: \"%s\" is not a finite number", (unsigned long long)number, SHOW(file->path), value);
    free(fields[1].value.ptr);
}

static const char *behind_digits(const char *at) {
    while (isdigit((unsigned char)*at)) at++;
    return at;
}

// Accepts a decimal number such as 1, -2.5, .5 or 1e3. strtod alone accepts more: nan, inf,
// hexadecimal digits, blanks.
static bool is_finite_number(const char *text, size_t length) {
    const char *at = text + (*text == '+' || *text == '-');
    const char *whole = behind_digits(at);
    size_t digits = (size_t)(whole - at);
    at = whole;
    if (*at == '.') {
        at = behind_digits(whole + 1);
        digits += (size_t)(at - whole - 1);
    }
    if (digits == 0) return false;
    if (*at == 'e' || *at == 'E') {
        const char *power = at + 1 + (at[1] == '+' || at[1] == '-');
        at = behind_digits(power);
        if (at == power) return false;
    }
    return at == text + length && isfinite(strtod(text, NULL));
}
