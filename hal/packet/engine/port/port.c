/* Opens a port by the kind in front of its device's colon. */
#include "port/kinds.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool kind_is(const char *device, const char *kind, const char **rest) {
    size_t length = strlen(kind);
    if (strncmp(device, kind, length) != 0 || (device[length] != ':' && device[length] != '\0'))
        return false;
    *rest = device + length + (device[length] == ':');
    return true;
}

static bool pcap_devargs(char *devargs, size_t size, uint32_t number, const char *files) {
    const char *comma = strchr(files, ',');
    if (comma == NULL || comma == files || comma[1] == '\0')
        return false;
    return snprintf(devargs, size, "net_pcap%u,rx_pcap=%.*s,tx_pcap=%s", number, (int)(comma - files), files,
                    comma + 1) < (int)size;
}

static struct dsn_opened open_device(struct dsn_port *port, const char *device, int fd, struct rte_mempool *pool) {
    char devargs[160] = "";
    const char *rest;
    struct dsn_opened wrong = {
        .kind = DSN_OPEN_INVALID,
        .field = "device",
        .limit = "linux:IFNAME, tap:IFNAME, null, ring, pcap:IN,OUT, dpdk:DEVARGS or replay",
        .fix = "Name one of these kinds; a descriptor comes with linux and tap, and with no other."};

    if (kind_is(device, "linux", &rest) && fd >= 0)
        return dsn_linux_open(port, fd, pool);
    if (kind_is(device, "tap", &rest) && fd >= 0)
        return dsn_tap_open(port, fd, pool);
    if (fd >= 0) {
        close(fd);
        return wrong;
    }
    if (strcmp(device, "replay") == 0)
        return dsn_replay_open(port);
    if (strcmp(device, "null") == 0) /* what is sent is gone, and nothing comes: by itself it would make zeros */
        snprintf(devargs, sizeof(devargs), "net_null%u,no-rx=1", port->number);
    else if (strcmp(device, "ring") == 0)
        snprintf(devargs, sizeof(devargs), "net_ring%u", port->number);
    else if (kind_is(device, "dpdk", &rest) && rest[0] != '\0')
        snprintf(devargs, sizeof(devargs), "%s", rest);
    else if (!kind_is(device, "pcap", &rest) || !pcap_devargs(devargs, sizeof(devargs), port->number, rest))
        return wrong;
    return dsn_dpdk_open(port, devargs, pool);
}

static void tell(struct dsn_error *error, const struct dsn_load_port *config, const struct dsn_opened *opened) {
    *error = (struct dsn_error){.table = -1, .row = -1, .id = DSN_NONE_ID};
    snprintf(error->what, sizeof(error->what), "port %.*s", (int)sizeof(config->name), config->name);
    snprintf(error->field, sizeof(error->field), "%s", opened->field != NULL ? opened->field : "");
    snprintf(error->limit, sizeof(error->limit), "%s", opened->limit != NULL ? opened->limit : "");
    snprintf(error->fix, sizeof(error->fix), "%s", opened->fix != NULL ? opened->fix : "");
    if (opened->number != 0)
        snprintf(error->got, sizeof(error->got), "%.48s (%s)", config->device, strerror(opened->number));
    else
        snprintf(error->got, sizeof(error->got), "%.90s", config->device);
}

struct dsn_port *dsn_port_open(const struct dsn_load_port *config, int fd, struct rte_mempool *pool,
                               struct dsn_error *error, uint16_t *error_kind) {
    struct dsn_opened opened;
    struct dsn_port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        if (fd >= 0)
            close(fd);
        opened = (struct dsn_opened){.kind = DSN_OPEN_FULL, .number = ENOMEM, .limit = "free memory"};
    } else {
        port->number = config->number;
        port->mtu = config->mtu;
        port->counters = &port->own;
        port->own.number = config->number;
        memcpy(port->name, config->name, sizeof(port->name));
        port->name[sizeof(port->name) - 1] = '\0';
        memcpy(port->mac, config->mac, sizeof(port->mac));
        char device[sizeof(config->device) + 1] = "";
        memcpy(device, config->device, sizeof(config->device));
        opened = open_device(port, device, fd, pool);
    }
    if (opened.kind == 0) {
        atomic_store(&port->up, port->ops->link(port));
        return port;
    }
    tell(error, config, &opened);
    *error_kind = opened.kind;
    free(port);
    return NULL;
}

void dsn_port_close(struct dsn_port *port) {
    port->ops->close(port);
    free(port);
}
