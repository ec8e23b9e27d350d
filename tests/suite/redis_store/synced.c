// Preloaded into a Redis server: notes in the file $SYNCED, for each sync, how many bytes of which
// file are on the disk then.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int synced(const char *how, int fd) {
    struct stat file;
    char link[64], path[4097] = "", line[4200];
    int known = fstat(fd, &file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, how);
    int done = next(fd);
    const char *name = getenv("SYNCED");
    if (done || known || length <= 0 || !name) return done;
    int log = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) return done;
    int size = snprintf(line, sizeof line, "%lld %s\n", (long long)file.st_size, path);
    if (write(log, line, (size_t)size) != size) abort();
    close(log);
    return done;
}

int fsync(int fd) { return synced("fsync", fd); }

int fdatasync(int fd) { return synced("fdatasync", fd); }
