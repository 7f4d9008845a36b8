#include "process.h"

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
#define NETWORK (1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW)

static int failed(const char *what, const char *name) {
    fprintf(stderr, "dsn-engine: %s %s: %s\n", what, name, strerror(errno));
    return DSN_EXIT_FAILED;
}

static bool lookup(const char *user, uid_t *uid, gid_t *gid) {
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

int dsn_process_hold(const char *run, const char *user) {
    uid_t uid = 0;
    gid_t gid = 0;
    if (user && geteuid() == 0 && !lookup(user, &uid, &gid))
        return DSN_EXIT_USAGE;
    bool made = mkdir(run, 0700) == 0;
    if (!made && errno != EEXIST)
        return failed("cannot make", run);
    if (chdir(run) < 0)
        return failed("cannot enter", run);
    if (made && user && geteuid() == 0 && chown(".", uid, gid) < 0)
        return failed("cannot give away", run);
    int lock = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return failed("cannot open", LOCK);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return failed("cannot lock", LOCK);
        fprintf(stderr, "dsn-engine: BUSY: an engine runs in %s already, pid %ld\n", run, holder(lock));
        return DSN_EXIT_BUSY;
    }
    if (!write_pid(lock))
        return failed("cannot write", LOCK);
    int pid = open(PID, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (pid < 0 || !write_pid(pid))
        return failed("cannot write", PID);
    if (user && geteuid() == 0 && (fchown(lock, uid, gid) < 0 || fchown(pid, uid, gid) < 0))
        return failed("cannot give away", PID);
    close(pid);
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
    if (geteuid() != 0)
        return true;
    uid_t uid = 0;
    gid_t gid = 0;
    bool well = user == NULL || lookup(user, &uid, &gid);
    for (int capability = 0; well && prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        prctl(PR_CAPBSET_DROP, capability);
    if (well && user)
        well = prctl(PR_SET_KEEPCAPS, 1L) == 0 && setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 &&
               setresuid(uid, uid, uid) == 0;
    well = well && keep(keep_network ? NETWORK : 0) && prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0;
    if (!well)
        fprintf(stderr, "dsn-engine: cannot give up privileges: %s\n", strerror(errno));
    return well;
}

bool dsn_process_confine(void) {
    return keep(0);
}
