/* Records what a process does to the files of one folder, and lets the disk fail on demand.
 *
 * Loaded with LD_PRELOAD. QUANTUMMQ_POWERCUT_FOLDER is the folder, as realpath has it, and
 * QUANTUMMQ_POWERCUT_LOG the record, outside of it: one write a record, after what it records and
 * before that returns, so that it is complete when the process is killed. QUANTUMMQ_POWERCUT_FAULT
 * names a file that, while it is there, makes calls fail: see `fault`. QUANTUMMQ_POWERCUT_SYNC_US
 * is how long each synchronisation takes at least, as on a slow disk.
 *
 * Seen is what goes through the C library. Calls made directly (rustix: flock and fallocate) are
 * not, nor are memory maps: `-shm`, which SQLite makes anew after a power cut, is left alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define EXPORT __attribute__((visibility("default")))

enum operation { OPEN = 1, CLOSE, DUP, WRITE, TRUNCATE, ALLOCATE, SYNC_BEGUN, SYNC_DONE,
                 SYNC_FAILED, RENAME, UNLINK, MKDIR, LINK };

struct head {
    uint32_t bytes; /* With what follows. */
    int32_t operation, descriptor, unused;
    int64_t first, second;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile unsigned char watched[DESCRIPTORS];
static char folder[PATH_MAX], fault_path[PATH_MAX];
static size_t folder_bytes;
static int record_fd = -1;
static long sync_us;
static int64_t syncs;
static pid_t owner; /* A child on its way to exec shares this memory, and is none of ours. */

__attribute__((constructor)) static void begin(void)
{
    const char *where = getenv("QUANTUMMQ_POWERCUT_FOLDER");
    const char *record = getenv("QUANTUMMQ_POWERCUT_LOG");
    const char *fault = getenv("QUANTUMMQ_POWERCUT_FAULT");
    const char *slow = getenv("QUANTUMMQ_POWERCUT_SYNC_US");
    if (!where || !record)
        return;
    snprintf(folder, sizeof folder, "%s", where);
    snprintf(fault_path, sizeof fault_path, "%s", fault ? fault : "");
    sync_us = slow ? atol(slow) : 0;
    owner = getpid();
    record_fd = syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Out of the way: programs think that they know which of the low numbers are theirs. */
    int high = syscall(SYS_fcntl, record_fd, F_DUPFD_CLOEXEC, 500);
    syscall(SYS_close, record_fd);
    record_fd = high;
    folder_bytes = record_fd < 0 ? 0 : strlen(folder);
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && watched[fd] && getpid() == owner;
}

static void note(int operation, int fd, int64_t first, int64_t second, const struct iovec *rest,
                 int count)
{
    struct head head = { sizeof head, operation, fd, 0, first, second };
    struct iovec parts[4] = { { &head, sizeof head } };
    for (int i = 0; i < count; i++) {
        parts[i + 1] = rest[i];
        head.bytes += rest[i].iov_len;
    }
    int saved = errno;
    if (syscall(SYS_writev, record_fd, parts, count + 1) != (long)head.bytes)
        abort(); /* A record that is not whole proves nothing. */
    errno = saved;
}

/* The folder's files by a path that may not exist: its parent resolved, then its last name. */
static int is_inside(int at, const char *path, char *full)
{
    char whole[PATH_MAX], parent[PATH_MAX];
    if (!folder_bytes || !path || !*path)
        return 0;
    if (*path == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0)
            return 0;
        base[length] = 0;
        if ((size_t)snprintf(whole, sizeof whole, "%s/%s", base, path) >= sizeof whole)
            return 0;
    }
    char *slash = strrchr(whole, '/');
    *slash = 0;
    int saved = errno;
    char *resolved = realpath(*whole ? whole : "/", parent);
    errno = saved;
    if (!resolved)
        return 0;
    if ((size_t)snprintf(full, PATH_MAX, "%s/%s", parent, slash + 1) >= PATH_MAX)
        return 0;
    return !strncmp(full, folder, folder_bytes) && full[folder_bytes] == '/';
}

static int is_shared_memory(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && !strcmp(path + length - 4, "-shm");
}

/* The file of faults holds one: `OPERATION ERRNO SUFFIX`, for `open`, `write` (with truncation and
 * allocation) or `sync` on files whose names end so (`*`: all). A fourth word `once` makes it go
 * away with the first call it fails. 0, or the number of the error. */
static int fault(const char *operation, int fd, const char *path)
{
    char text[256], link[64], name[PATH_MAX], kind[16], suffix[64], how[16] = "";
    int number = 0, saved = errno;
    if (!*fault_path)
        return 0;
    int file = syscall(SYS_openat, AT_FDCWD, fault_path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) {
        errno = saved;
        return 0;
    }
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    text[length > 0 ? length : 0] = 0;
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        length = readlink(link, name, sizeof name - 1);
        name[length > 0 ? length : 0] = 0;
        path = name;
    }
    errno = saved;
    if (sscanf(text, "%15s %d %63s %15s", kind, &number, suffix, how) < 3 || strcmp(kind, operation))
        return 0;
    size_t all = strlen(path), end = strlen(suffix);
    if (strcmp(suffix, "*") && (all < end || strcmp(path + all - end, suffix)))
        return 0;
    if (!strcmp(how, "once"))
        syscall(SYS_unlinkat, AT_FDCWD, fault_path, 0);
    return number;
}

static int fail(int number)
{
    errno = number;
    return -1;
}

/* --- opening and closing ------------------------------------------------------------------- */

static int opened(int at, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    if (!is_inside(at, path, full)) {
        /* The folder itself may be opened to synchronise it. */
        if (!folder_bytes || !path || strcmp(path, folder))
            return syscall(SYS_openat, at, path, flags, mode);
        snprintf(full, sizeof full, "%s", folder);
    }
    if (is_shared_memory(full))
        return syscall(SYS_openat, at, path, flags, mode);
    int number = flags & (O_CREAT | O_WRONLY | O_RDWR) ? fault("open", -1, full) : 0;
    if (number)
        return fail(number);
    pthread_mutex_lock(&mutex);
    struct stat before;
    int was_there = !lstat(full, &before);
    int fd = syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS) {
        struct iovec name = { full, strlen(full) };
        watched[fd] = 1;
        note(OPEN, fd, flags & O_TRUNC ? 1 : 0, !was_there, &name, 1);
    }
    pthread_mutex_unlock(&mutex);
    return fd;
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int at, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(at, path, flags, mode);
}

EXPORT int openat64(int at, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return opened(at, path, flags, mode);
}

EXPORT int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

EXPORT int creat(const char *path, mode_t mode)
{
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode) { return creat(path, mode); }

EXPORT int close(int fd)
{
    if (fd == record_fd)
        return fail(EBADF); /* Whoever closes everything may not close this. */
    if (!is_watched(fd))
        return syscall(SYS_close, fd);
    pthread_mutex_lock(&mutex);
    watched[fd] = 0;
    note(CLOSE, fd, 0, 0, NULL, 0);
    int result = syscall(SYS_close, fd);
    pthread_mutex_unlock(&mutex);
    return result;
}

static int duplicated(int fd, int copy)
{
    if (copy >= 0 && copy < DESCRIPTORS) {
        watched[copy] = is_watched(fd);
        if (watched[copy])
            note(DUP, fd, copy, 0, NULL, 0);
    }
    return copy;
}

#define DUPLICATE(...)                                                                             \
    pthread_mutex_lock(&mutex);                                                                    \
    int copy = duplicated(fd, syscall(__VA_ARGS__));                                               \
    pthread_mutex_unlock(&mutex);                                                                  \
    return copy;

EXPORT int dup(int fd) { DUPLICATE(SYS_dup, fd) }
EXPORT int dup3(int fd, int to, int flags) { DUPLICATE(SYS_dup3, fd, to, flags) }
EXPORT int dup2(int fd, int to) { return fd == to ? fd : dup3(fd, to, 0); }

static int controlled(int fd, int command, void *argument)
{
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
        DUPLICATE(SYS_fcntl, fd, command, argument)
    }
    return syscall(SYS_fcntl, fd, command, argument);
}

#define ARGUMENT(last)                                                                             \
    va_list rest;                                                                                  \
    va_start(rest, last);                                                                          \
    void *argument = va_arg(rest, void *);                                                         \
    va_end(rest);

EXPORT int fcntl(int fd, int command, ...)
{
    ARGUMENT(command)
    return controlled(fd, command, argument);
}

EXPORT int fcntl64(int fd, int command, ...)
{
    ARGUMENT(command)
    return controlled(fd, command, argument);
}

/* --- writing ------------------------------------------------------------------------------- */

/* Parts are written one by one: a short count tells where it ended. -1 for `offset`: at the
 * descriptor's place. */
static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset)
{
    ssize_t done = 0;
    int number = fault("write", fd, NULL);
    if (number)
        return fail(number);
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < count; i++) {
        off_t place = offset < 0 ? 0 : offset + done;
        ssize_t length;
        if (offset < 0) {
            int flags = syscall(SYS_fcntl, fd, F_GETFL, 0);
            place = lseek(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
            length = syscall(SYS_write, fd, parts[i].iov_base, parts[i].iov_len);
        } else {
            length = syscall(SYS_pwrite64, fd, parts[i].iov_base, parts[i].iov_len, place);
        }
        if (length < 0) {
            if (!done)
                done = -1;
            break;
        }
        struct iovec bytes = { parts[i].iov_base, length };
        note(WRITE, fd, place, 0, &bytes, 1);
        done += length;
        if ((size_t)length < parts[i].iov_len)
            break;
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t length)
{
    struct iovec part = { (void *)bytes, length };
    return is_watched(fd) ? written(fd, &part, 1, -1) : syscall(SYS_write, fd, bytes, length);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return is_watched(fd) ? written(fd, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    struct iovec part = { (void *)bytes, length };
    if (is_watched(fd))
        return written(fd, &part, 1, offset);
    return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset)
{
    return pwrite(fd, bytes, length, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (is_watched(fd))
        return written(fd, parts, count, offset);
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset)
{
    return pwritev(fd, parts, count, offset);
}

/* Copies within the kernel: callers do it by hand when it is not there. */
EXPORT ssize_t copy_file_range(int from, off_t *at, int fd, off_t *to, size_t length, unsigned flags)
{
    if (is_watched(fd))
        return fail(ENOSYS);
    return syscall(SYS_copy_file_range, from, at, fd, to, length, flags);
}

EXPORT ssize_t sendfile(int fd, int from, off_t *at, size_t length)
{
    return is_watched(fd) ? fail(EINVAL) : syscall(SYS_sendfile, fd, from, at, length);
}

EXPORT ssize_t sendfile64(int fd, int from, off_t *at, size_t length)
{
    return sendfile(fd, from, at, length);
}

EXPORT int ftruncate(int fd, off_t length)
{
    if (!is_watched(fd))
        return syscall(SYS_ftruncate, fd, length);
    int number = fault("write", fd, NULL);
    if (number)
        return fail(number);
    pthread_mutex_lock(&mutex);
    int result = syscall(SYS_ftruncate, fd, length);
    if (!result)
        note(TRUNCATE, fd, length, 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

EXPORT int fallocate(int fd, int flags, off_t offset, off_t length)
{
    if (!is_watched(fd))
        return syscall(SYS_fallocate, fd, flags, offset, length);
    if (flags)
        return fail(EOPNOTSUPP); /* Holes and moves are not in the model. */
    int number = fault("write", fd, NULL);
    if (number)
        return fail(number);
    pthread_mutex_lock(&mutex);
    int result = syscall(SYS_fallocate, fd, flags, offset, length);
    if (!result)
        note(ALLOCATE, fd, offset + length, 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int fallocate64(int fd, int flags, off_t offset, off_t length)
{
    return fallocate(fd, flags, offset, length);
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
    int saved = errno;
    int result = fallocate(fd, 0, offset, length) ? errno : 0;
    errno = saved;
    return result;
}

EXPORT int posix_fallocate64(int fd, off_t offset, off_t length)
{
    return posix_fallocate(fd, offset, length);
}

/* --- synchronising ------------------------------------------------------------------------- */

/* What was written while it ran may or may not be on the disk: two records. */
static int synchronised(int fd, long call)
{
    if (!is_watched(fd))
        return syscall(call, fd);
    pthread_mutex_lock(&mutex);
    int64_t ticket = ++syncs;
    note(SYNC_BEGUN, fd, ticket, 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
    if (sync_us) {
        struct timespec pause = { sync_us / 1000000, sync_us % 1000000 * 1000 };
        nanosleep(&pause, NULL);
    }
    int number = fault("sync", fd, NULL);
    int result = number ? fail(number) : syscall(call, fd);
    pthread_mutex_lock(&mutex);
    note(result ? SYNC_FAILED : SYNC_DONE, fd, ticket, 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int fsync(int fd) { return synchronised(fd, SYS_fsync); }
EXPORT int fdatasync(int fd) { return synchronised(fd, SYS_fdatasync); }

/* --- names --------------------------------------------------------------------------------- */

EXPORT int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags)
{
    char source[PATH_MAX], target[PATH_MAX];
    if (!is_inside(at, from, source) || !is_inside(to_at, to, target))
        return syscall(SYS_renameat2, at, from, to_at, to, flags);
    if (flags)
        return fail(EINVAL);
    struct iovec names[2] = { { source, strlen(source) + 1 }, { target, strlen(target) } };
    pthread_mutex_lock(&mutex);
    int result = syscall(SYS_renameat2, at, from, to_at, to, 0);
    if (!result)
        note(RENAME, -1, 0, 0, names, 2);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int renameat(int at, const char *from, int to_at, const char *to)
{
    return renameat2(at, from, to_at, to, 0);
}

EXPORT int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int linkat(int at, const char *from, int to_at, const char *to, int flags)
{
    char source[PATH_MAX], target[PATH_MAX];
    if (!is_inside(at, from, source) || !is_inside(to_at, to, target))
        return syscall(SYS_linkat, at, from, to_at, to, flags);
    struct iovec names[2] = { { source, strlen(source) + 1 }, { target, strlen(target) } };
    pthread_mutex_lock(&mutex);
    int result = syscall(SYS_linkat, at, from, to_at, to, flags);
    if (!result)
        note(LINK, -1, 0, 0, names, 2);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int unlinkat(int at, const char *path, int flags)
{
    char full[PATH_MAX];
    if (!is_inside(at, path, full) || is_shared_memory(full))
        return syscall(SYS_unlinkat, at, path, flags);
    struct iovec name = { full, strlen(full) };
    pthread_mutex_lock(&mutex);
    int result = syscall(SYS_unlinkat, at, path, flags);
    if (!result)
        note(UNLINK, -1, 0, 0, &name, 1);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
EXPORT int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

EXPORT int remove(const char *path)
{
    struct stat found;
    return !lstat(path, &found) && S_ISDIR(found.st_mode) ? rmdir(path) : unlink(path);
}

EXPORT int mkdirat(int at, const char *path, mode_t mode)
{
    char full[PATH_MAX];
    if (!is_inside(at, path, full))
        return syscall(SYS_mkdirat, at, path, mode);
    struct iovec name = { full, strlen(full) };
    pthread_mutex_lock(&mutex);
    int result = syscall(SYS_mkdirat, at, path, mode);
    if (!result)
        note(MKDIR, -1, 0, 0, &name, 1);
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
