/* Two things that a test can do to a program only from inside. Loaded with LD_PRELOAD.

   CHAOS_CLOCK: a file of eight octets, the nanoseconds that the wall clock is wrong by; it may change at any moment.
   Timeouts go by the monotonic clock, which no step touches.

   CHAOS_SYNCS: a file that gets a record of 24 octets for each fsync or fdatasync that succeeded: device, inode, and
   the file's size when the call began, all of which is on the disk now. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *wrong_by;
static int syncs = -1;

__attribute__((constructor)) static void begin(void) {
  const char *clock = getenv("CHAOS_CLOCK"), *log = getenv("CHAOS_SYNCS");
  if (clock) {
    int file = open(clock, O_RDONLY | O_CLOEXEC);
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    wrong_by = page;
    close(file);
  }
  if (log && (syncs = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0) abort();
}

int clock_gettime(clockid_t which, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int answer = real(which, now);
  if (answer == 0 && wrong_by && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
    int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + *wrong_by;
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
  }
  return answer;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  (void)zone;
  int answer = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return answer;
}

time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now) *now = precise.tv_sec;
  return precise.tv_sec;
}

static int synced(const char *name, int file) {
  int (*real)(int) = dlsym(RTLD_NEXT, name);
  struct stat before;
  int is_known = fstat(file, &before) == 0;
  int answer = real(file);
  if (answer == 0 && is_known && syncs >= 0) {
    int64_t record[3] = {(int64_t)before.st_dev, (int64_t)before.st_ino, (int64_t)before.st_size};
    if (write(syncs, record, sizeof record) != sizeof record) abort();
  }
  return answer;
}

int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
