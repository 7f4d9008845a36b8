#include "control.h"

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
    for (uint16_t worker = 0; control->running && worker < control->engine.workers; worker++)
        dsn_events_take(&control->events, control->engine.shard[worker]);
}

void dsn_holder_gone(struct dsn_control *control, const void *holder) {
    dsn_staged_sweep(control, holder);
    for (int place = 0; place < DSN_REPLAYS; place++)
        if (control->replay[place].number && control->replay[place].holder == holder)
            dsn_replay_end(control, &control->replay[place]);
}
