#include "anacostia_guest.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *memory) {
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

static Text borrowed(const char *text) { return (Text){(uint8_t *)text, strlen(text)}; }

static Text text_of_list(const char *format, va_list values) {
    char *text = NULL;
    const int length = vasprintf(&text, format, values);
    must(length < 0 ? NULL : text);
    return (Text){(uint8_t *)text, (size_t)length};
}

#define FORMATTED(text, last)              \
    Text text;                             \
    do {                                   \
        va_list values;                    \
        va_start(values, last);            \
        text = text_of_list(last, values); \
        va_end(values);                    \
    } while (0)

Text text_of(const char *format, ...) {
    FORMATTED(text, format);
    return text;
}

// --- How a guest ends ---

#ifdef ANACOSTIA_TRIGGER

bool fire(Decision *decision, const char *format, ...) {
    FORMATTED(text, format);
    decision->tag = EXPORTS_ANACOSTIA_PIPELINE_DECIDER_DECISION_FIRE;
    decision->val.fire = text;
    return true;
}

bool skip(Decision *decision, const char *format, ...) {
    FORMATTED(text, format);
    decision->tag = EXPORTS_ANACOSTIA_PIPELINE_DECIDER_DECISION_SKIP;
    decision->val.skip = (exports_anacostia_pipeline_decider_skipped_t){.reason = text};
    return true;
}

#else

bool done(Outcome *outcome, const char *format, ...) {
    FORMATTED(text, format);
    outcome->tag = ANACOSTIA_PIPELINE_TYPES_OUTCOME_DONE;
    outcome->val.done = (guest_option_string_t){.is_some = true, .val = text};
    return true;
}

bool skip(Outcome *outcome, const char *format, ...) {
    FORMATTED(text, format);
    outcome->tag = ANACOSTIA_PIPELINE_TYPES_OUTCOME_SKIP;
    outcome->val.skip = text;
    return true;
}

#endif

bool fail(Error *error, const char *code, const char *format, ...) {
    FORMATTED(text, format);
    *error = (Error){.code = text_of("%s", code), .message = text, .retryable = false};
    return false;
}

// --- Params: a JSON object. The host made it, so it is well-formed. ---

// Returns the position after the quoted string that begins at `at`.
static const char *behind_string(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\\') at++;
    }
    return at + 1;
}

// Returns the position after the value that begins at `at`: the comma or the brace that follows.
static const char *behind_value(const char *at) {
    for (int depth = 0;;) {
        if (*at == '"') {
            at = behind_string(at);
            continue;
        }
        if (depth == 0 && (*at == ',' || *at == '}')) return at;
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        at++;
    }
}

static char *put_utf8(char *to, uint32_t point) {
    if (point < 0x80) {
        *to++ = (char)point;
    } else if (point < 0x800) {
        *to++ = (char)(0xc0 | point >> 6);
        *to++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *to++ = (char)(0xe0 | point >> 12);
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    } else {
        *to++ = (char)(0xf0 | point >> 18);
        *to++ = (char)(0x80 | (point >> 12 & 0x3f));
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    }
    return to;
}

// Decodes a `\u` escape; `at` is the position after the `\u`. Also reads the second half of a
// surrogate pair, which JSON uses above U+FFFF.
static const char *unescape_point(const char *at, char **to) {
    unsigned point = 0, low = 0;
    sscanf(at, "%4x", &point);
    at += 4;
    if (point >= 0xd800 && point < 0xdc00 && sscanf(at, "\\u%4x", &low) == 1) {
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    *to = put_utf8(*to, point);
    return at;
}

// Returns the string that begins at `at`, without its quotes and with escapes decoded.
static char *unescaped(const char *at) {
    char *text = must(malloc((size_t)(behind_string(at) - at))), *to = text;
    for (at++; *at != '"';) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        at += 2;
        switch (at[-1]) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': at = unescape_point(at, &to); break;
        default: *to++ = at[-1];
        }
    }
    *to = '\0';
    return text;
}

static const char *params(void) {
    static const char *known = NULL;
    if (known == NULL) {
        Text text;
#ifdef ANACOSTIA_TRIGGER
        anacostia_pipeline_trigger_context_params(&text);
#else
        anacostia_pipeline_run_context_params(&text);
#endif
        known = (const char *)text_of("%.*s", SHOW(text)).ptr;
    }
    return known;
}

// Returns the position of the value of a param: "" if it is absent.
static const char *value_of(const char *name) {
    const char *found = "";
    for (const char *at = strchr(params(), '"'); at != NULL;) {
        const bool named = strcmp(unescaped(at), name) == 0;
        const char *value = strchr(behind_string(at), ':') + 1;
        value += strspn(value, " \t\r\n");
        if (named) found = value;
        at = behind_value(value);
        at = *at == ',' ? strchr(at, '"') : NULL;
    }
    return found;
}

const char *param(const char *name, const char *otherwise) {
    const char *value = value_of(name);
    return *value == '"' ? unescaped(value) : otherwise;
}

double number_param(const char *name, double otherwise) {
    const char *value = value_of(name);
    return *value == '-' || isdigit((unsigned char)*value) ? strtod(value, NULL) : otherwise;
}

// --- Logs, metrics, params ---

static void log_line(anacostia_pipeline_log_level_t level, Text message, const Field *fields, size_t count) {
    guest_tuple2_string_string_t pairs[count + 1];
    for (size_t i = 0; i < count; i++) {
        pairs[i] = (guest_tuple2_string_string_t){borrowed(fields[i].name), fields[i].value};
    }
    guest_list_tuple2_string_string_t list = {pairs, count};
    anacostia_pipeline_log_log(level, &message, &list);
    guest_string_free(&message);
}

void log_info(const char *format, ...) {
    FORMATTED(message, format);
    log_line(ANACOSTIA_PIPELINE_LOG_LEVEL_INFO, message, NULL, 0);
}

void log_warning(const Field *fields, size_t count, const char *format, ...) {
    FORMATTED(message, format);
    log_line(ANACOSTIA_PIPELINE_LOG_LEVEL_WARN, message, fields, count);
}

bool log_metrics(const Metric *metrics, size_t count, Error *error) {
    anacostia_pipeline_metadata_metric_t typed[count + 1];
    for (size_t i = 0; i < count; i++) {
        typed[i] = (anacostia_pipeline_metadata_metric_t){.name = borrowed(metrics[i].name), .value = metrics[i].value};
    }
    anacostia_pipeline_metadata_list_metric_t list = {typed, count};
    return anacostia_pipeline_metadata_log_metrics(&list, error);
}

bool log_param(const char *name, const char *value, Error *error) {
    anacostia_pipeline_metadata_entry_t entry = {borrowed(name), borrowed(value)};
    anacostia_pipeline_metadata_list_entry_t list = {&entry, 1};
    return anacostia_pipeline_metadata_log_params(&list, error);
}

#ifndef ANACOSTIA_TRIGGER

// --- Reading ---

bool inputs_of(const char *resource, Artifacts *inputs, Error *error) {
    Text name = borrowed(resource);
    return anacostia_pipeline_resources_inputs(&name, inputs, error);
}

bool lines_open(Lines *lines, const Artifact *artifact, Error *error) {
    *lines = (Lines){.artifact = artifact, .error = error};
    Text id = artifact->id;
    return anacostia_pipeline_resources_open(&id, &lines->reader, error);
}

static bool next_chunk(Lines *lines) {
    guest_list_u8_free(&lines->chunk);
    lines->chunk = (guest_list_u8_t){NULL, 0};
    lines->at = 0;
    lines->failed = !anacostia_pipeline_resources_method_reader_read(
        anacostia_pipeline_resources_borrow_reader(lines->reader), lines->offset, CHUNK_BYTES, &lines->chunk, lines->error);
    lines->offset += lines->chunk.len;
    lines->ended = lines->failed || lines->chunk.len == 0;
    return !lines->ended;
}

// Saves the rest of the chunk: its line continues in the next chunk.
static void keep(Lines *lines, const uint8_t *bytes, size_t length) {
    const size_t needed = lines->rest_length + length + 1;
    if (needed > lines->rest_capacity) {
        lines->rest_capacity = needed * 2;
        lines->rest = must(realloc(lines->rest, lines->rest_capacity));
    }
    memcpy(lines->rest + lines->rest_length, bytes, length);
    lines->rest_length += length;
    lines->rest[lines->rest_length] = '\0';
}

// Reads up to the next end of a line, or to the end of the artifact. A NUL replaces the "\n".
static bool next_piece(Lines *lines, Text *line) {
    while (lines->at < lines->chunk.len || next_chunk(lines)) {
        uint8_t *begin = lines->chunk.ptr + lines->at;
        const size_t left = lines->chunk.len - lines->at;
        uint8_t *end = memchr(begin, '\n', left);
        if (end == NULL) {
            keep(lines, begin, left);
            lines->at = lines->chunk.len;
            continue;
        }
        *end = '\0';
        lines->at += (size_t)(end - begin) + 1;
        if (lines->rest_length == 0) {
            *line = (Text){begin, (size_t)(end - begin)};
            return true;
        }
        keep(lines, begin, (size_t)(end - begin));
        break;
    }
    *line = (Text){(uint8_t *)lines->rest, lines->rest_length};
    const bool found = !lines->failed && (lines->rest_length > 0 || !lines->ended);
    lines->rest_length = 0;
    return found;
}

// Returns the length in bytes of the character that begins at `at`, or 0 if it is not UTF-8. The
// text is followed by a NUL.
static size_t utf8_length(const uint8_t *at) {
    const size_t length = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    const bool overlong = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
    const bool beyond = (*at == 0xed && at[1] > 0x9f) || (*at == 0xf4 && at[1] > 0x8f);
    return overlong || beyond ? 0 : length;
}

// Text that is passed to the host must be UTF-8: otherwise the host stops the action, with a
// message that does not name the file. So the text is checked here first.
static bool is_utf8(Text text) {
    for (size_t at = 0; at < text.len;) {
        const size_t length = utf8_length(text.ptr + at);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

bool lines_next(Lines *lines, Text *line) {
    if (lines->ended || !next_piece(lines, line)) return false;
    lines->number++;
    if (line->len > 0 && line->ptr[line->len - 1] == '\r') line->ptr[--line->len] = '\0';
    if (is_utf8(*line)) return true;
    lines->failed = lines->ended = true;
    return fail(lines->error, "invalid", "%.*s is not text: line %llu is not UTF-8", SHOW(lines->artifact->path),
                (unsigned long long)lines->number);
}

bool lines_close(Lines *lines) {
    guest_list_u8_free(&lines->chunk);
    free(lines->rest);
    anacostia_pipeline_resources_reader_drop_own(lines->reader);
    return !lines->failed;
}

// --- Writing ---

bool output_open(Output *output, const char *resource, Text path, Error *error) {
    *output = (Output){.buffer = must(malloc(CHUNK_BYTES)), .error = error};
    Text name = borrowed(resource);
    anacostia_pipeline_resources_create_options_t options = {.overwrite = true};
    return anacostia_pipeline_resources_create(&name, &path, &options, &output->writer, error);
}

static void flush(Output *output) {
    guest_list_u8_t bytes = {output->buffer, output->length};
    output->length = 0;
    if (!output->failed && bytes.len > 0) {
        output->failed = !anacostia_pipeline_resources_method_writer_write(
            anacostia_pipeline_resources_borrow_writer(output->writer), &bytes, output->error);
    }
}

void output_write(Output *output, const void *bytes, size_t length) {
    for (const uint8_t *from = bytes; length > 0;) {
        if (output->length == CHUNK_BYTES) flush(output);
        const size_t room = CHUNK_BYTES - output->length, part = length < room ? length : room;
        memcpy(output->buffer + output->length, from, part);
        output->length += part;
        from += part;
        length -= part;
    }
}

void output_print(Output *output, const char *format, ...) {
    FORMATTED(text, format);
    output_write(output, text.ptr, text.len);
    guest_string_free(&text);
}

bool output_finish(Output *output, Artifact *artifact) {
    flush(output);
    const bool finished = !output->failed && anacostia_pipeline_resources_method_writer_finish(
        anacostia_pipeline_resources_borrow_writer(output->writer), artifact, output->error);
    anacostia_pipeline_resources_writer_drop_own(output->writer);
    free(output->buffer);
    return finished;
}

#endif
