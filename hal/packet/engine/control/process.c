#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOCK "engine.lock"
#define PID "engine.pid"
#define DPDK "dpdk" /* what its EAL wants to have, though it keeps nothing there */
#define LOSE SIGRTMAX
#define LOSE_TRIES 200 /* times 5 ms */
#define NETWORK (1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW)

static int failed(const char *what, const char *name) {
    fprintf(stderr, "dsn-engine: %s %s: %s\n", what, name, strerror(errno));
    return DSN_EXIT_FAILED;
}

/* A name, or UID:GID as who starts it has looked them up. */
static bool lookup(const char *user, uid_t *uid, gid_t *gid) {
    char *end, *last;
    unsigned long number = strtoul(user, &end, 10);
    if (end > user && *end == ':') {
        unsigned long group = strtoul(end + 1, &last, 10);
        if (last > end + 1 && *last == 0 && number > 0 && number < UINT32_MAX && group < UINT32_MAX) {
            *uid = (uid_t)number;
            *gid = (gid_t)group;
            return true;
        }
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        fprintf(stderr, "dsn-engine: no user %s\n", user);
        return false;
    }
    *uid = entry->pw_uid;
    *gid = entry->pw_gid;
    return true;
}

/* The holder writes its pid behind its lock: a moment later it is there. */
static long holder(int lock) {
    for (int attempt = 0; attempt < 50; attempt++) {
        char text[32] = "";
        if (pread(lock, text, sizeof(text) - 1, 0) > 0)
            return strtol(text, NULL, 10);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return 0;
}

static bool write_pid(int fd) {
    char text[32];
    int size = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)size, 0) == size;
}

/* A folder that others can write may hold anything by now, links to other files first of all. */
static bool ours(const char *run) {
    struct stat status;
    if (stat(".", &status) < 0)
        return failed("cannot look at", run) == DSN_EXIT_OK;
    if (status.st_uid == geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return true;
    fprintf(stderr, "dsn-engine: run folder %s: owner %u, mode %04o: it has to be %u's, and writable by no other\n",
            run, (unsigned)status.st_uid, (unsigned)status.st_mode & 07777, (unsigned)geteuid());
    return false;
}

/* The folder stays its starter's: who runs as `user` may pass through it, and has a folder for DPDK in it. */
static bool let_in(uid_t uid, gid_t gid) {
    struct stat status;
    if (stat(".", &status) < 0 || chmod(".", (status.st_mode & 07777) | S_IXGRP | S_IXOTH) < 0)
        return false;
    if (mkdir(DPDK, 0700) < 0 && errno != EEXIST)
        return false;
    return lchown(DPDK, uid, gid) == 0 && setenv("XDG_RUNTIME_DIR", ".", 1) == 0;
}

/* Sockets of an engine that could not remove them; we hold the folder's lock. */
static void sweep(void) {
    DIR *folder = opendir(".");
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        if (strncmp(entry->d_name, "write-", 6) == 0)
            unlink(entry->d_name);
    }
    if (folder)
        closedir(folder);
}

/* By a descriptor of its own: what stays open must not be able to write another number. */
static bool note_pid(const char *name, mode_t mode) {
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);
    bool written = fd >= 0 && write_pid(fd);
    if (fd >= 0)
        close(fd);
    return written;
}

int dsn_process_hold(const char *run, const char *user) {
    uid_t uid = 0;
    gid_t gid = 0;
    bool becomes = user && geteuid() == 0;
    if (becomes && !lookup(user, &uid, &gid))
        return DSN_EXIT_USAGE;
    if (mkdir(run, 0700) < 0 && errno != EEXIST)
        return failed("cannot make", run);
    if (chdir(run) < 0)
        return failed("cannot enter", run);
    if (!ours(run))
        return DSN_EXIT_FAILED;
    int lock = open(LOCK, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return failed("cannot open", LOCK);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return failed("cannot lock", LOCK);
        fprintf(stderr, "dsn-engine: BUSY: an engine runs in %s already, pid %ld\n", run, holder(lock));
        return DSN_EXIT_BUSY;
    }
    if (!note_pid(LOCK, 0600))
        return failed("cannot write", LOCK);
    if (!note_pid(PID, 0644))
        return failed("cannot write", PID);
    if (becomes && !let_in(uid, gid))
        return failed("cannot let in", user);
    sweep();
    return DSN_EXIT_OK; /* `lock` stays open: it is the lock */
}

void dsn_process_leave(void) {
    unlink(PID);
}

void dsn_process_detach(void) {
    sigset_t blocked;
    setsid(); /* the leader of a group, as a shell starts it, can't: then what the terminal sends is ignored below */
    int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (none >= 0) {
        dup2(none, STDIN_FILENO);
        close(none);
    }
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    /* Before there are other threads, which inherit it: SIGTERM is read from a descriptor. */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    /* No packets and no keys on disk. A core pattern that is a pipe ignores the limit, not the filter. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (filter >= 0) {
        (void)!write(filter, "0", 1);
        close(filter);
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static bool keep(uint32_t capabilities) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = capabilities, .permitted = capabilities}};
    return syscall(SYS_capset, &head, data) == 0;
}

bool dsn_process_drop(const char *user, bool keep_network) {
    uid_t uid = 0;
    gid_t gid = 0;
    bool root = geteuid() == 0, well = true;
    if (root && user)
        well = lookup(user, &uid, &gid);
    for (int capability = 0; root && well && prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        prctl(PR_CAPBSET_DROP, capability);
    if (well && root && user)
        well = prctl(PR_SET_KEEPCAPS, 1L) == 0 && setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 &&
               setresuid(uid, uid, uid) == 0;
    well = well && keep(root && keep_network ? NETWORK : 0) && prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           prctl(PR_SET_DUMPABLE, 0L) == 0; /* another process of this user is no reason to be looked into */
    if (!well)
        fprintf(stderr, "dsn-engine: cannot give up privileges: %s\n", strerror(errno));
    return well;
}

static void lose(int number) {
    int before = errno;
    (void)number;
    (void)keep(0);
    errno = before;
}

static bool confined(const char *thread) {
    char path[64], line[128];
    bool none = true;
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", thread);
    FILE *status = fopen(path, "re");
    if (status == NULL)
        return errno == ENOENT || errno == ESRCH; /* it has ended */
    while (fgets(line, sizeof(line), status))
        if (!strncmp(line, "CapInh:", 7) || !strncmp(line, "CapPrm:", 7) || !strncmp(line, "CapEff:", 7))
            none = none && strtoull(line + 7, NULL, 16) == 0;
    fclose(status);
    return none;
}

/* Asks every thread that isn't confined to give up what it has; whether there was none. */
static bool all_confined(void) {
    DIR *threads = opendir("/proc/self/task");
    bool all = threads != NULL;
    for (const struct dirent *entry; threads && (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] == '.' || confined(entry->d_name))
            continue;
        all = false;
        syscall(SYS_tgkill, getpid(), (int)strtol(entry->d_name, NULL, 10), LOSE);
    }
    if (threads)
        closedir(threads);
    return all;
}

/* Capabilities are a thread's own, and only it can give them up: DPDK's threads were made while this one had some. */
bool dsn_process_confine(void) {
    struct sigaction action = {.sa_handler = lose, .sa_flags = SA_RESTART};
    if (!keep(0) || sigaction(LOSE, &action, NULL) < 0)
        return false;
    for (int attempt = 0; attempt < LOSE_TRIES; attempt++) {
        if (all_confined())
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    return false;
}
