// Writes a report on sensor readings: a table with the number of values and the mean for each
// sensor.

#include <stdlib.h>
#include <string.h>

#include "anacostia_guest.h"

static const char HEADER[] = "sensor,value";
static const char REPORT[] = "report-c.md";

typedef struct {
    char *name;
    unsigned long long count;
    double sum;
} Sensor;

// Compares sensors by the bytes of their names.
typedef struct {
    Sensor *sensors;
    size_t length, capacity;
    unsigned long long values;
} Table;

static bool add_file(Table *table, const Artifact *file, Error *error);
static bool write_report(const Table *table, const char *to, Error *error);

bool exports_anacostia_pipeline_action_run(Outcome *outcome, Error *error) {
    const char *from = param("from", "clean"), *to = param("to", "reports");
    Artifacts files;
    if (!inputs_of(from, &files, error)) return false;

    Table table = {0};
    for (size_t i = 0; i < files.len; i++) {
        if (!add_file(&table, &files.ptr[i], error)) return false;
    }
    if (table.values == 0) return skip(outcome, "no values in %s", from);

    if (!write_report(&table, to, error)) return false;
    log_info("%s has %zu sensors, %llu values", REPORT, table.length, table.values);
    return done(outcome, "%zu sensors, %llu values", table.length, table.values);
}

static bool write_report(const Table *table, const char *to, Error *error) {
    Output output;
    Artifact written;
    if (!output_open(&output, to, text_of("%s", REPORT), error)) return false;
    output_print(&output, "# Sensors\n\n| sensor | count | mean |\n|---|---:|---:|\n");
    for (size_t i = 0; i < table->length; i++) {
        const Sensor *sensor = &table->sensors[i];
        output_print(&output, "| %s | %llu | %.3f |\n", sensor->name, sensor->count, sensor->sum / (double)sensor->count);
    }
    if (!output_finish(&output, &written)) return false;
    Text tag = text_of("report");
    return anacostia_pipeline_metadata_tag_artifact(&written.id, &tag, false, error);
}

// --- Reading ---

static bool read_header(Lines *lines, Error *error) {
    Text header = {0};
    if (!lines_next(lines, &header) && lines->failed) return false;
    if (header.len == strlen(HEADER) && memcmp(header.ptr, HEADER, header.len) == 0) return true;
    return fail(error, "invalid", "%.*s begins with \"%.*s\", not with \"%s\"", SHOW(lines->artifact->path), SHOW(header), HEADER);
}

// Returns the sensor of that name, and adds it to the table if it is new.
static Sensor *sensor_named(Table *table, const char *name) {
    size_t low = 0, high = table->length;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(table->sensors[middle].name, name);
        if (order == 0) return &table->sensors[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    if (table->length == table->capacity) {
        table->capacity = table->capacity * 2 + 16;
        table->sensors = realloc(table->sensors, table->capacity * sizeof(Sensor));
        if (table->sensors == NULL) abort();
    }
    Sensor *place = &table->sensors[low];
    memmove(place + 1, place, (table->length - low) * sizeof(Sensor));
    table->length++;
    *place = (Sensor){.name = strdup(name)};
    return place;
}

static bool add_file(Table *table, const Artifact *file, Error *error) {
    Lines lines;
    Text line;
    if (!lines_open(&lines, file, error) || !read_header(&lines, error)) return false;
    while (lines_next(&lines, &line)) {
        if (line.len == 0) continue;
        char *name = (char *)line.ptr, *end = name + line.len, *comma = memchr(name, ',', line.len), *behind;
        const char *text = comma == NULL ? end : comma + 1;
        const double value = strtod(text, &behind);
        if (behind == text || behind != end) {
            return fail(error, "failed", "line %llu of %.*s: \"%s\" is not a number", (unsigned long long)lines.number, SHOW(file->path), text);
        }
        *comma = '\0';
        Sensor *sensor = sensor_named(table, name);
        sensor->count++;
        sensor->sum += value;
        table->values++;
    }
    return lines_close(&lines);
}
