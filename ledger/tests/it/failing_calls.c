/* Loaded before the C library, lets some calls of a process on some files fail.
 *
 * FAIL_CALL   "write", "sync" or "truncate"
 * FAIL_PATH   a part of the file's path
 * FAIL_FROM   the first of these calls that fails, counted from 1
 * FAIL_COUNT  how many fail; later ones succeed
 * FAIL_ERRNO  the error's number
 * FAIL_LOG    a file that gets a line for each failed call, and for each sync of these files after it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls, failed;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static void note(const char *what, const char *path) {
    char line[4200];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    int file = open(getenv("FAIL_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (file >= 0 && real(file, line, length) >= 0) close(file);
}

/* Whether this call is to fail. */
static int fails(const char *call, int file) {
    const char *wanted = getenv("FAIL_CALL");
    char link[64], path[4096];
    if (!wanted || !getenv("FAIL_PATH") || !getenv("FAIL_LOG")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, getenv("FAIL_PATH"))) return 0;
    pthread_mutex_lock(&lock);
    int due = 0;
    if (failed && !strcmp(call, "sync")) note("sync", path);
    if (!strcmp(call, wanted)) {
        calls++;
        due = calls >= number("FAIL_FROM") && failed < number("FAIL_COUNT");
    }
    if (due) {
        failed++;
        note("failed", path);
    }
    pthread_mutex_unlock(&lock);
    if (due) errno = number("FAIL_ERRNO");
    return due;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t write(int file, const void *bytes, size_t count) {
    return fails("write", file) ? -1 : REAL(ssize_t, "write", int, const void *, size_t)(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    if (fails("write", file)) return -1;
    return REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(file, bytes, count, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    if (fails("write", file)) return -1;
    return REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(file, bytes, count, offset);
}

int ftruncate64(int file, off64_t length) {
    return fails("truncate", file) ? -1 : REAL(int, "ftruncate64", int, off64_t)(file, length);
}

int fdatasync(int file) {
    return fails("sync", file) ? -1 : REAL(int, "fdatasync", int)(file);
}

int fsync(int file) {
    return fails("sync", file) ? -1 : REAL(int, "fsync", int)(file);
}
