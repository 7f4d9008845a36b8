#include "server.h"

#include "message.h"
#include "requests.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENERS (DSN_TABLES + 3)
#define CONNECTIONS 64 /* a socket: readers can't shut writers out */
#define GUESTS 48      /* of them, of other users than who started it: they can't shut him out */
#define TICK_NS 100000000
#define TURNS 1024 /* requests of another writer that come before an outcome */

struct source;
typedef void ready_fn(struct dsn_control *control, struct source *source, uint32_t events);

struct source {
    ready_fn *ready;
    int fd; /* -1: unused */
};

struct listener {
    struct source source;
    enum dsn_authority authority;
    int owner;
    unsigned connections, guests;
    char name[48];
};

struct connection {
    struct source source;
    struct listener *listener;
    struct connection *next, **before;
    bool guest; /* of another user than who started the engine, by what the kernel says of the peer */
    /* An answer that the client has yet to make room for; until then nothing more is read from it. */
    uint8_t *waiting;
    size_t waiting_size;
    int waiting_fd;
    struct dsn_unread unread;
    bool resting; /* too much of it: nothing more is read from it until a tick finds that gone */
};

struct dsn_server {
    int epoll;
    uid_t host; /* who started it */
    struct listener listener[LISTENERS];
    unsigned listeners;
    struct connection *connections;
    /* The guests' connections, in an epoll of their own: together they are one source among the others, so that who
     * started the engine waits for one request of theirs and not for one of each. */
    struct source guests;
    struct source signals, timer, links;
    bool ended;
    bool full; /* no descriptor for those who wait at the listeners: until the next tick nobody is taken in */
    struct dsn_exchange exchange;
    int descriptor[DSN_DESCRIPTORS];
    _Alignas(8) uint8_t message[DSN_WIRE_MAX + 8];
};

static bool watch_in(int epoll, struct source *source, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(epoll, how, source->fd, &event) == 0;
}

static bool watch(struct dsn_server *server, struct source *source, uint32_t events, int how) {
    return watch_in(server->epoll, source, events, how);
}

static bool watch_connection(struct dsn_server *server, struct connection *connection, uint32_t events, int how) {
    return watch_in(connection->guest ? server->guests.fd : server->epoll, &connection->source, events, how);
}

static void end_connection(struct dsn_control *control, struct connection *connection) {
    dsn_holder_gone(control, connection);
    connection->listener->connections--;
    connection->listener->guests -= connection->guest;
    *connection->before = connection->next;
    if (connection->next)
        connection->next->before = connection->before;
    close(connection->source.fd);
    if (connection->waiting_fd >= 0)
        close(connection->waiting_fd);
    free(connection->waiting);
    free(connection);
}

/* --- out --- */

/* False: the connection is of no use any more. */
static bool send_answer(struct dsn_server *server, struct connection *connection, const struct dsn_request *request) {
    struct dsn_exchange *exchange = &server->exchange;
    const void *body = exchange->failure.kind ? (const void *)&exchange->failure.error : exchange->answer;
    uint32_t size = exchange->failure.kind ? sizeof(exchange->failure.error) : exchange->size;
    struct dsn_answer *answer = (struct dsn_answer *)server->message; /* the request isn't needed any more */
    struct dsn_answer head = {
        .magic = DSN_WIRE_MAGIC,
        .verb = request->verb,
        .kind = exchange->failure.kind,
        .request = request->request,
        .length = size,
    };
    *answer = head;
    memcpy(answer + 1, body, size);
    if (exchange->failure.kind && exchange->answer_fd >= 0) {
        close(exchange->answer_fd);
        exchange->answer_fd = -1;
    }
    if (dsn_message_pass(connection->source.fd, answer, sizeof(head) + size, exchange->answer_fd, &connection->unread))
        return true;
    connection->waiting_fd = exchange->answer_fd;
    if (!dsn_would_block() || (connection->waiting = malloc(sizeof(head) + size)) == NULL)
        return false;
    memcpy(connection->waiting, answer, sizeof(head) + size);
    connection->waiting_size = sizeof(head) + size;
    return watch_connection(server, connection, EPOLLOUT, EPOLL_CTL_MOD);
}

static bool send_waiting(struct dsn_server *server, struct connection *connection) {
    if (!dsn_message_pass(connection->source.fd, connection->waiting, connection->waiting_size, connection->waiting_fd,
                          &connection->unread))
        return dsn_would_block();
    free(connection->waiting);
    connection->waiting = NULL;
    connection->waiting_fd = -1;
    return watch_connection(server, connection, EPOLLIN, EPOLL_CTL_MOD);
}

/* --- in --- */

/* One request, where there is one (*more). False: the connection is of no use any more. */
static bool serve(struct dsn_control *control, struct connection *connection, bool *more) {
    struct dsn_server *server = control->server;
    struct dsn_exchange *exchange = &server->exchange;
    unsigned descriptors;
    bool cut;
    ssize_t size = dsn_message_receive(connection->source.fd, server->message, sizeof(server->message),
                                       server->descriptor, &descriptors, &cut);
    *more = size > 0;
    if (size <= 0) {
        for (unsigned i = 0; i < descriptors; i++)
            close(server->descriptor[i]);
        return size < 0;
    }
    *exchange = (struct dsn_exchange){
        .from = connection,
        .owner = connection->listener->owner,
        .guest = connection->guest,
        .memfd = descriptors ? server->descriptor[0] : -1,
        .device = server->descriptor + 1,
        .devices = descriptors ? descriptors - 1 : 0,
        .answer_fd = -1,
    };
    if (descriptors)
        server->descriptor[0] = -1; /* whoever takes it closes it; else it is closed below */
    struct dsn_request request = {0};
    memcpy(&request, server->message, (size_t)size < sizeof(request) ? (size_t)size : sizeof(request));
    bool well = false;
    if (cut)
        dsn_refuse(&exchange->failure, DSN_CORRUPT, "request", "length", "8192 bytes and 253 descriptors", NULL);
    else
        well = dsn_request_answer(control, connection->listener->authority, (const struct dsn_request *)server->message,
                                  (size_t)size, exchange);
    if (exchange->memfd >= 0)
        close(exchange->memfd);
    for (unsigned i = 0; i < exchange->devices; i++)
        if (exchange->device[i] >= 0)
            close(exchange->device[i]);
    return send_answer(server, connection, &request) && well;
}

/* Requests that lie in a connection, `most` at most; where it isn't `patient`, those behind answers that nobody reads
 * too. False: the connection is of no use any more. */
static bool serve_some(struct dsn_control *control, struct connection *connection, unsigned most, bool patient) {
    bool goes_on = true;
    for (bool more = true; goes_on && more && !connection->waiting && most > 0; most--) {
        if (patient && dsn_message_unread(connection->source.fd, &connection->unread)) {
            connection->resting = true;
            return watch_connection(control->server, connection, 0, EPOLL_CTL_MOD);
        }
        goes_on = serve(control, connection, &more);
        /* Behind the answer, so that its reader need not wait for the second copy. */
        dsn_commit_follow(control);
    }
    return goes_on;
}

static bool asks_outcome(const struct connection *connection) {
    struct dsn_request request;
    ssize_t size = recv(connection->source.fd, &request, sizeof(request), MSG_PEEK | MSG_DONTWAIT);
    return size == (ssize_t)sizeof(request) && request.verb == DSN_VERB_OUTCOME;
}

/* Who is told that a transaction is unknown may rely on it: all that the owner's other connections have sent before is
 * done first. There is a limit, or one who never rests would be served alone; it is more than a socket holds. */
static void serve_others(struct dsn_control *control, const struct connection *asking) {
    for (struct connection *one = control->server->connections, *next; one != NULL; one = next) {
        next = one->next;
        if (one != asking && one->listener == asking->listener && !serve_some(control, one, TURNS, false))
            end_connection(control, one);
    }
}

static void wake_those_who_read(struct dsn_server *server) {
    for (struct connection *one = server->connections; one != NULL; one = one->next)
        if (one->resting && !dsn_message_unread(one->source.fd, &one->unread)) {
            one->resting = false;
            watch_connection(server, one, one->waiting ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
        }
}

static void connection_ready(struct dsn_control *control, struct source *source, uint32_t events) {
    struct connection *connection = (struct connection *)source;
    bool goes_on;
    if (connection->resting) {
        goes_on = !(events & (EPOLLERR | EPOLLHUP)); /* nothing else is looked for */
    } else if (connection->waiting) {
        goes_on = !(events & (EPOLLERR | EPOLLHUP)) && send_waiting(control->server, connection);
    } else {
        if (connection->listener->authority == DSN_WRITER && asks_outcome(connection))
            serve_others(control, connection);
        goes_on = serve_some(control, connection, 1, true);
    }
    if (!goes_on)
        end_connection(control, connection);
}

static void too_many(int fd, const char *limit) {
    struct {
        struct dsn_answer head;
        struct dsn_error error;
    } answer = {.head = {.magic = DSN_WIRE_MAGIC, .kind = DSN_BUSY, .length = sizeof(answer.error)}};
    struct dsn_failure failure;
    dsn_refuse(&failure, DSN_BUSY, "socket", "", limit, "Close one.");
    answer.error = failure.error;
    dsn_message_send(fd, &answer, sizeof(answer), -1);
    close(fd);
}

/* `events`: EPOLLIN, or 0 for a rest. */
static void listen_to_all(struct dsn_server *server, uint32_t events) {
    server->full = events == 0;
    for (unsigned i = 0; i < server->listeners; i++)
        watch(server, &server->listener[i].source, events, EPOLL_CTL_MOD);
}

static bool is_guest(const struct dsn_server *server, int fd) {
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != server->host;
}

static void listener_ready(struct dsn_control *control, struct source *source, uint32_t events) {
    struct dsn_server *server = control->server;
    struct listener *listener = (struct listener *)source;
    (void)events;
    int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* Out of descriptors or memory: whoever waits would wake this thread again and again. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listen_to_all(server, 0);
        return;
    }
    bool guest = is_guest(server, fd), full = guest && listener->guests >= GUESTS;
    struct connection *connection =
        listener->connections < CONNECTIONS && !full ? calloc(1, sizeof(*connection)) : NULL;
    if (connection == NULL) {
        too_many(fd, full ? "48 connections of others than who started the engine" : "64 connections");
        return;
    }
    *connection = (struct connection){.source = {connection_ready, fd},
                                      .listener = listener,
                                      .guest = guest,
                                      .next = server->connections,
                                      .before = &server->connections,
                                      .waiting_fd = -1};
    if (server->connections)
        server->connections->before = &connection->next;
    server->connections = connection;
    listener->connections++;
    listener->guests += guest;
    if (!watch_connection(server, connection, EPOLLIN, EPOLL_CTL_ADD))
        end_connection(control, connection);
}

/* --- sockets, signals, time --- */

static bool add_listener(struct dsn_server *server, int fd, const char *name, enum dsn_authority authority, int owner) {
    if (server->listeners == LISTENERS)
        return false;
    struct listener *listener = &server->listener[server->listeners++];
    *listener = (struct listener){.source = {listener_ready, fd}, .authority = authority, .owner = owner};
    snprintf(listener->name, sizeof(listener->name), "%s", name);
    return true;
}

static bool listen_with(struct dsn_server *server, struct listener *listener) {
    return listen(listener->source.fd, SOMAXCONN) == 0 && watch(server, &listener->source, EPOLLIN, EPOLL_CTL_ADD);
}

/* Nobody can connect until it is listened on. */
static bool bind_to(struct dsn_server *server, const char *name, enum dsn_authority authority, int owner) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* By its bare name: the run folder is the current one, and its path may be longer than an address. */
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    unlink(name); /* of an engine that died: we hold the folder's lock */
    mode_t mask = umask(0177);
    bool bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    umask(mask);
    if (bound && add_listener(server, fd, name, authority, owner))
        return true;
    int failed = errno;
    close(fd);
    errno = failed;
    return false;
}

/* Bound by who loads us, to a name and for users of his choice. Taken where it is good. */
static bool take_bound(struct dsn_server *server, int *given, const char *name, int owner) {
    int type = 0, family = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(*given, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        getsockopt(*given, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0)
        return false;
    errno = EPROTOTYPE;
    if (type != SOCK_SEQPACKET || family != AF_UNIX || fcntl(*given, F_SETFL, O_NONBLOCK) < 0 ||
        !add_listener(server, *given, name, DSN_WRITER, owner))
        return false;
    *given = -1;
    return true;
}

static void end_listener(struct listener *listener) {
    close(listener->source.fd);
    unlink(listener->name);
}

bool dsn_server_owners(struct dsn_control *control, int *given, struct dsn_failure *failure) {
    struct dsn_server *server = control->server;
    unsigned before = server->listeners;
    for (unsigned owner = 0; owner < control->tables.owners; owner++) {
        char name[48];
        snprintf(name, sizeof(name), "write-%s.sock", control->tables.owner[owner].name);
        if ((given ? take_bound(server, &given[owner], name, (int)owner)
                   : bind_to(server, name, DSN_WRITER, (int)owner)) &&
            listen_with(server, &server->listener[server->listeners - 1]))
            continue;
        dsn_refuse(failure, DSN_INVALID, name, "", given ? "a socket that can listen" : "a socket in the run folder",
                   NULL);
        dsn_got(failure, "%s", strerror(errno));
        while (server->listeners > before)
            end_listener(&server->listener[--server->listeners]);
        return false;
    }
    return true;
}

static void guests_ready(struct dsn_control *control, struct source *source, uint32_t events) {
    struct epoll_event event;
    (void)events;
    if (epoll_wait(source->fd, &event, 1, 0) == 1) {
        struct source *guest = event.data.ptr;
        guest->ready(control, guest, event.events);
    }
}

static void signal_ready(struct dsn_control *control, struct source *source, uint32_t events) {
    struct signalfd_siginfo signal;
    (void)events;
    if (read(source->fd, &signal, sizeof(signal)) == (ssize_t)sizeof(signal))
        control->ending = true;
}

static void timer_ready(struct dsn_control *control, struct source *source, uint32_t events) {
    uint64_t ticks;
    (void)events;
    if (read(source->fd, &ticks, sizeof(ticks)) != (ssize_t)sizeof(ticks))
        return;
    dsn_tick(control);
    wake_those_who_read(control->server);
    if (control->server->full)
        listen_to_all(control->server, EPOLLIN);
}

static void links_ready(struct dsn_control *control, struct source *source, uint32_t events) {
    (void)events;
    dsn_link_watched(source->fd);
    dsn_tick(control);
}

bool dsn_server_create(struct dsn_control *control) {
    struct dsn_server *server = calloc(1, sizeof(*server));
    sigset_t signals;
    const struct itimerspec tick = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    if (server == NULL)
        return false;
    control->server = server;
    server->host = geteuid();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->guests = (struct source){guests_ready, epoll_create1(EPOLL_CLOEXEC)};
    server->signals = (struct source){signal_ready, signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
    server->timer = (struct source){timer_ready, timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)};
    server->links = (struct source){links_ready, dsn_link_watch()};
    bool made = server->epoll >= 0 && server->guests.fd >= 0 && server->signals.fd >= 0 && server->timer.fd >= 0 &&
                watch(server, &server->guests, EPOLLIN, EPOLL_CTL_ADD) &&
                timerfd_settime(server->timer.fd, 0, &tick, NULL) == 0 &&
                watch(server, &server->signals, EPOLLIN, EPOLL_CTL_ADD) &&
                watch(server, &server->timer, EPOLLIN, EPOLL_CTL_ADD);
    /* Without it a link's change is seen at the next tick. */
    if (made && server->links.fd >= 0)
        made = watch(server, &server->links, EPOLLIN, EPOLL_CTL_ADD);
    made = made && bind_to(server, "load.sock", DSN_LOADER, -1) && bind_to(server, "read.sock", DSN_READER, -1);
    if (!made)
        fprintf(stderr, "dsn-engine: sockets in %s: %s\n", control->options->run, strerror(errno));
    return made;
}

bool dsn_server_listen(struct dsn_control *control) {
    struct dsn_server *server = control->server;
    for (unsigned i = 0; i < server->listeners; i++)
        if (!listen_with(server, &server->listener[i])) {
            fprintf(stderr, "dsn-engine: sockets in %s: %s\n", control->options->run, strerror(errno));
            return false;
        }
    return true;
}

bool dsn_server_step(struct dsn_control *control, int wait_ms) {
    struct epoll_event event;
    /* One at a time: a source that is closed can then not stand in a list of events any more. */
    int count = epoll_wait(control->server->epoll, &event, 1, wait_ms);
    if (count <= 0)
        return count < 0 && errno == EINTR;
    struct source *source = event.data.ptr;
    source->ready(control, source, event.events);
    return true;
}

void dsn_server_run(struct dsn_control *control) {
    while (!control->ending && dsn_server_step(control, -1))
        ;
}

void dsn_server_destroy(struct dsn_control *control) {
    struct dsn_server *server = control->server;
    if (server == NULL)
        return;
    while (server->listeners)
        end_listener(&server->listener[--server->listeners]);
    while (server->connections)
        end_connection(control, server->connections);
    const int fds[] = {server->signals.fd, server->timer.fd, server->links.fd, server->guests.fd, server->epoll};
    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(server);
    control->server = NULL;
}
