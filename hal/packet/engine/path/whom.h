/* Whose an address is; and for whom what comes by an uplink counts: behind it is everybody, so floods take from their
 * targets alone. */
#ifndef DSN_PATH_WHOM_H
#define DSN_PATH_WHOM_H

#include "path/derive.h"
#include "path/packet.h"

/* Whose limit holds, and which share of it. */
struct dsn_whom {
    const struct dsn_vnic *vnic;
    bool inbound; /* of what goes to it, apart from what it sends */
};

/* Of an uplink's packet the vNIC that its address is of, else whom the packet comes from. */
struct dsn_whom dsn_whom(const struct dsn_root *root, const struct dsn_packet *packet);

/* The slot of the row of `vnic_address` that packets to this address go to; DSN_NO_SLOT. */
uint32_t dsn_vnic_address(const struct dsn_root *root, uint64_t vrf, const uint8_t address[16]);

/* The slot of the row of `local_address`; DSN_NO_SLOT. */
uint32_t dsn_local_address(const struct dsn_root *root, uint64_t vrf, const uint8_t address[16]);

/* The slot of the row by which nobody behind this uplink has the address: of *table, local_address or else
 * vnic_address; DSN_NO_SLOT. */
uint32_t dsn_own_address(const struct dsn_root *root, const struct dsn_vnic *uplink, const uint8_t address[16],
                         enum dsn_table_number *table);

/* True for what comes by an uplink from an address of this card: it is from somebody else (RFC 2827, RFC 3704). */
bool dsn_is_claimed(const struct dsn_root *root, const struct dsn_vnic *vnic, const uint8_t source[16]);

#endif
