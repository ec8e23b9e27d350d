// A program that executes its arguments one after the other, and prints the result of each on
// standard output: `VERB: ok`, or `VERB: ENOENT`.
//
// An argument is a verb and its words, separated by `|`. The program has nothing specific to a
// pipeline: it only uses files.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

enum { MAX_WORDS = 4 };

static char *words[MAX_WORDS];

static const char *error_name(void) {
    switch (errno) {
        case EACCES: return "EACCES";
        case EBADF: return "EBADF";
        case EBUSY: return "EBUSY";
        case EDQUOT: return "EDQUOT";
        case EEXIST: return "EEXIST";
        case EILSEQ: return "EILSEQ";
        case EINVAL: return "EINVAL";
        case EIO: return "EIO";
        case EISDIR: return "EISDIR";
        case ENAMETOOLONG: return "ENAMETOOLONG";
        case ENOENT: return "ENOENT";
        case ENOSPC: return "ENOSPC";
        case ENOTDIR: return "ENOTDIR";
        case ENOTEMPTY: return "ENOTEMPTY";
        case ENOTSUP: return "ENOTSUP";
        case EPERM: return "EPERM";
        case EROFS: return "EROFS";
        case ESPIPE: return "ESPIPE";
        case EXDEV: return "EXDEV";
        case ENOTCAPABLE: return "ENOTCAPABLE";
        default: return strerror(errno);
    }
}

static bool say(bool good) {
    printf("%s: %s\n", words[0], good ? "ok" : error_name());
    return good;
}

static bool write_all(int file, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(file, bytes, length);
        if (written < 0) return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

// Opens words[1], writes words[2] to it, and closes it.
static void write_file(int flags) {
    int file = open(words[1], flags, 0666);
    if (!say(file >= 0)) return;
    if (!write_all(file, words[2], strlen(words[2]))) say(false);
    if (close(file) != 0) say(false);
}

// Opens words[1] and writes the given number of bytes to it, in pieces of the given size.
static void fill(void) {
    size_t left = strtoull(words[2], NULL, 10), chunk = strtoull(words[3], NULL, 10);
    char *bytes = calloc(1, chunk);
    int file = open(words[1], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    bool good = file >= 0;
    while (good && left > 0) {
        size_t now = left < chunk ? left : chunk;
        good = write_all(file, bytes, now);
        left -= now;
    }
    say(good);
    free(bytes);
    if (file >= 0) close(file);
}

static void copy_to(int from, int to) {
    char bytes[4096];
    ssize_t got;
    while ((got = read(from, bytes, sizeof bytes)) > 0) {
        if (!write_all(to, bytes, (size_t)got)) { say(false); return; }
    }
    say(got == 0);
}

static void cat(void) {
    int file = open(words[1], O_RDONLY);
    if (file < 0) { say(false); return; }
    copy_to(file, 1);
    close(file);
}

static void read_part(void) {
    char bytes[256] = {0};
    int file = open(words[1], O_RDONLY);
    if (file < 0) { say(false); return; }
    ssize_t got = pread(file, bytes, strtoull(words[3], NULL, 10), strtoll(words[2], NULL, 10));
    if (got >= 0) printf("part: %s\n", bytes); else say(false);
    close(file);
}

static void list(void) {
    DIR *folder = opendir(words[1]);
    if (folder == NULL) { say(false); return; }
    printf("list:");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (count++ < 20) printf(" %s%s", entry->d_name, entry->d_type == DT_DIR ? "/" : "");
    }
    printf(" (%d)\n", count);
    closedir(folder);
}

static void look(void) {
    struct stat about;
    if (stat(words[1], &about) != 0) { say(false); return; }
    if (S_ISDIR(about.st_mode)) printf("stat: folder\n");
    else printf("stat: %lld bytes, %s\n", (long long)about.st_size, about.st_mtime > 0 ? "with a time" : "without a time");
}

// Opens a path over and over, and keeps all of them open.
static void open_many(void) {
    int most = atoi(words[2]), count = 0;
    bool folders = words[3] != NULL;
    while (count < most && open(words[1], folders ? O_RDONLY | O_DIRECTORY : O_RDONLY) >= 0) count++;
    printf("open_many: %d%s%s\n", count, count < most ? ", then " : "", count < most ? error_name() : "");
}

// Writes words[3] at the offset words[2] of an existing file.
static void patch(void) {
    int file = open(words[1], O_RDWR);
    bool good = file >= 0 && lseek(file, strtoll(words[2], NULL, 10), SEEK_SET) >= 0;
    say(good && write_all(file, words[3], strlen(words[3])));
    if (file >= 0) close(file);
}

// Works like writers of archives: it writes a header at the end, and reads it back through the same
// handle and through another.
static void archive(void) {
    char bytes[64] = {0}, again[64] = {0};
    int file = open(words[1], O_RDWR | O_CREAT | O_TRUNC, 0666);
    bool good = file >= 0 && write_all(file, "size=????;", 10) && write_all(file, words[2], strlen(words[2]));
    char header[16];
    snprintf(header, sizeof header, "%04zu", strlen(words[2]));
    good = good && pwrite(file, header, 4, 5) == 4 && lseek(file, 0, SEEK_END) == (off_t)(10 + strlen(words[2]));
    good = good && pread(file, bytes, 63, 0) > 0;
    int other = open(words[1], O_RDONLY);
    good = good && other >= 0 && read(other, again, 63) > 0 && strcmp(bytes, again) == 0;
    if (other >= 0) close(other);
    if (!say(good)) return;
    printf("archive: %s\n", bytes);
    close(file);
}

// Overwrites the same words[3] bytes words[2] times.
static void churn(void) {
    size_t length = strtoull(words[3], NULL, 10);
    char *bytes = calloc(1, length);
    int file = open(words[1], O_RDWR | O_CREAT, 0666);
    bool good = file >= 0;
    for (int round = atoi(words[2]); good && round > 0; round--) good = pwrite(file, bytes, length, 0) == (ssize_t)length;
    say(good);
    free(bytes);
    if (file >= 0) close(file);
}

// Requests a size that exceeds the range of signed integers in the C library.
static void huge(void) {
    int file = open(words[1], O_RDWR | O_CREAT, 0666);
    errno = __wasi_fd_filestat_set_size(file, strtoull(words[2], NULL, 10));
    say(errno == 0);
    close(file);
}

static void local_time(void) {
    time_t zero = 0;
    char text[32];
    strftime(text, sizeof text, "%F %H:%M", localtime(&zero));
    printf("time: %s, TZ=%s\n", text, getenv("TZ") ? getenv("TZ") : "(none)");
}

static void rename_open(void) {
    int file = open(words[1], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    bool good = file >= 0 && write_all(file, "before ", 7) && rename(words[1], words[2]) == 0;
    say(good && write_all(file, "after", 5));
    close(file);
}

static void obey(char *step) {
    memset(words, 0, sizeof words);
    for (int place = 0; place < MAX_WORDS && step != NULL; place++) words[place] = strsep(&step, "|");
    const char *verb = words[0];
    const char *path = words[1];
    if (strcmp(verb, "cat") == 0) cat();
    else if (strcmp(verb, "part") == 0) read_part();
    else if (strcmp(verb, "list") == 0) list();
    else if (strcmp(verb, "stat") == 0) look();
    else if (strcmp(verb, "write") == 0) write_file(O_WRONLY | O_CREAT | O_TRUNC);
    else if (strcmp(verb, "append") == 0) write_file(O_WRONLY | O_CREAT | O_APPEND);
    else if (strcmp(verb, "create") == 0) write_file(O_WRONLY | O_CREAT | O_EXCL);
    else if (strcmp(verb, "overwrite") == 0) write_file(O_WRONLY);
    else if (strcmp(verb, "fill") == 0) fill();
    else if (strcmp(verb, "patch") == 0) patch();
    else if (strcmp(verb, "archive") == 0) archive();
    else if (strcmp(verb, "churn") == 0) churn();
    else if (strcmp(verb, "huge") == 0) huge();
    else if (strcmp(verb, "time") == 0) local_time();
    else if (strcmp(verb, "raw") == 0) { printf("%s", path); }
    else if (strcmp(verb, "rename") == 0) say(rename(path, words[2]) == 0);
    else if (strcmp(verb, "rename_open") == 0) rename_open();
    else if (strcmp(verb, "unlink") == 0) say(unlink(path) == 0);
    else if (strcmp(verb, "mkdir") == 0) say(mkdir(path, 0777) == 0);
    else if (strcmp(verb, "rmdir") == 0) say(rmdir(path) == 0);
    else if (strcmp(verb, "symlink") == 0) say(symlink(path, words[2]) == 0);
    else if (strcmp(verb, "truncate") == 0) say(truncate(path, strtoll(words[2], NULL, 10)) == 0);
    else if (strcmp(verb, "open_many") == 0) open_many();
    else if (strcmp(verb, "keep") == 0) say(write_all(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666), words[2], strlen(words[2])));
    else if (strcmp(verb, "long") == 0) {
        char *name = malloc(10001);
        memset(name, 'x', 10000);
        name[10000] = 0;
        memcpy(name, path, strlen(path));
        say(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666) >= 0);
    }
    else if (strcmp(verb, "stdin") == 0) copy_to(0, 1);
    else if (strcmp(verb, "env") == 0) printf("env: %s\n", getenv(path) ? getenv(path) : "(none)");
    else if (strcmp(verb, "err") == 0) fprintf(stderr, "%s\n", path);
    else if (strcmp(verb, "mutter") == 0) fprintf(stderr, "%s", path);
    else if (strcmp(verb, "exit") == 0) { fflush(NULL); _Exit(atoi(path)); }
    else if (strcmp(verb, "abort") == 0) abort();
    else printf("%s: unknown\n", verb);
    fflush(stdout);
}

int main(int count, char **arguments) {
    printf("called %s with %d\n", arguments[0], count - 1);
    for (int place = 1; place < count; place++) {
        char *step = strdup(arguments[place]);
        obey(step);
        free(step);
    }
    return 0;
}
