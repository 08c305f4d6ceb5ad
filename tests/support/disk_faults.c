/* Preloaded into one program by a scenario: makes its disk fail where a file says so. Not part of
 * Skep.
 *
 *   SKEP_DISK_FAULTS=FILE   looked at before each operation; lines of it, while it is there:
 *     sync TEXT             fsync, fdatasync of a path that holds TEXT fail with EIO
 *     full TEXT             writes to and new files at a path that holds TEXT fail with ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int rule_for(const char* kind, const char* path) {
  const char* rules = getenv("SKEP_DISK_FAULTS");
  if (rules == NULL || strcmp(path, rules) == 0) return 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  char text[4096];
  ssize_t n = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  if (n <= 0) return 0;
  text[n] = 0;
  size_t length = strlen(kind);
  char* rest = NULL;
  for (char* line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
    if (strncmp(line, kind, length) == 0 && line[length] == ' '
        && strstr(path, line + length + 1) != NULL)
      return 1;
  return 0;
}

static int fails(const char* kind, int fd) {
  if (getenv("SKEP_DISK_FAULTS") == NULL) return 0;
  char name[64], path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(name, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return path[0] == '/' && rule_for(kind, path);
}

#define REAL(name)                                                                                 \
  static __typeof__(name)* real;                                                                   \
  if (real == NULL) real = (__typeof__(name)*)dlsym(RTLD_NEXT, #name)

int fsync(int fd) {
  REAL(fsync);
  if (fails("sync", fd)) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  if (fails("sync", fd)) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

ssize_t write(int fd, const void* data, size_t size) {
  REAL(write);
  if (fails("full", fd)) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  REAL(writev);
  if (fails("full", fd)) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, parts, count);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  REAL(pwrite64);
  if (fails("full", fd)) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  REAL(pwrite);
  if (fails("full", fd)) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, data, size, at);
}

ssize_t sendfile64(int to, int from, off64_t* at, size_t size);
ssize_t sendfile64(int to, int from, off64_t* at, size_t size) {
  REAL(sendfile64);
  if (fails("full", to)) {
    errno = ENOSPC;
    return -1;
  }
  return real(to, from, at, size);
}

ssize_t sendfile(int to, int from, off_t* at, size_t size);
ssize_t sendfile(int to, int from, off_t* at, size_t size) {
  REAL(sendfile);
  if (fails("full", to)) {
    errno = ENOSPC;
    return -1;
  }
  return real(to, from, at, size);
}
