#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Link changes are rare and matter at once: what goes over a port that is down is decided again. */
static void look_at_links(struct dsn_control *control) {
    bool changed = false;
    for (uint16_t i = 0; i < control->engine.port_count; i++) {
        struct dsn_port *port = control->engine.ports[i];
        bool up = port->ops->link(port);
        if (up == atomic_load_explicit(&port->up, memory_order_relaxed))
            continue;
        atomic_store(&port->up, up);
        changed = true;
        dsn_events_put(&control->events, dsn_now_ns(), up ? DSN_EVENT_PORT_UP : DSN_EVENT_PORT_DOWN, port->number, "");
    }
    if (!changed)
        return;
    dsn_stamp_link();
}

void dsn_tick(struct dsn_control *control) {
    if (!control->loaded)
        return;
    dsn_staged_sweep(control, NULL);
    look_at_links(control);
    for (uint16_t worker = 0; control->running && worker < control->engine.workers; worker++) {
        dsn_events_take(&control->events, control->engine.shard[worker]);
        dsn_shard_warm(control->engine.shard[worker]);
    }
}

static struct dsn_port *port_of(struct dsn_control *control, uint32_t number) {
    for (uint16_t i = 0; i < control->engine.port_count; i++)
        if (control->engine.ports[i]->number == number)
            return control->engine.ports[i];
    return NULL;
}

bool dsn_do_take_up(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_take_up *ask = exchange->body;
    struct dsn_failure *failure = &exchange->failure;
    struct dsn_port *port = port_of(control, ask->port);
    char what[64];
    snprintf(what, sizeof(what), "port %u", ask->port);
    if (port == NULL)
        return dsn_refuse(failure, DSN_INVALID, what, "number", "a port of the card", NULL);
    snprintf(what, sizeof(what), "port %s", port->name);
    if (port->ops->take_up == NULL)
        return dsn_refuse(failure, DSN_UNSUPPORTED, what, "device", "a Linux interface", NULL);
    int failed = EINVAL;
    if (ask->interface <= INT32_MAX)
        failed = dsn_worker_take_up(&control->engine, port, (int)ask->interface, ask->namespace);
    if (failed == EBUSY)
        return dsn_refuse(failure, DSN_BUSY, what, "interface", "a port whose interface was deleted", NULL);
    if (failed != 0) {
        dsn_refuse(failure, DSN_INVALID, what, "interface", "one that packets can be received from", NULL);
        return dsn_got(failure, "index %u: %s", ask->interface, strerror(failed));
    }
    if (control->kept[port->index] > 0)
        close(control->kept[port->index]);
    control->kept[port->index] = exchange->memfd > 0 ? exchange->memfd : 0;
    if (exchange->memfd > 0)
        exchange->memfd = -1;
    return true;
}

void dsn_holder_gone(struct dsn_control *control, const void *holder) {
    dsn_staged_sweep(control, holder);
    for (int place = 0; place < DSN_REPLAYS; place++)
        if (control->replay[place].number && control->replay[place].holder == holder)
            dsn_replay_end(control, &control->replay[place]);
}
