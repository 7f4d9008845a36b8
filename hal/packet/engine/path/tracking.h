/* How a connection is followed: the tracking of the profile of the vNIC that it counts for, as the tables are now
 * (docs/tracking.md, *Tracking*). Nothing of it is kept with a connection. */
#ifndef DSN_PATH_TRACKING_H
#define DSN_PATH_TRACKING_H

#include "path/derive.h"
#include "path/flows.h"

/* What a vNIC's profile names; the defaults where it names none, and where there is no vNIC (NULL). */
const struct dsn_row_tracking *dsn_tracking_of(const struct dsn_root *root, const struct dsn_vnic *vnic);

/* Is TCP from the one to the other held to what its peers expect? Not where whom it counts for is loose, and the other
 * end too, where that is a vNIC. */
bool dsn_is_strict_between(const struct dsn_root *root, const struct dsn_vnic *ingress, const struct dsn_vnic *egress);
/* The same of a connection. */
bool dsn_is_strict(const struct dsn_flows *flows, const struct dsn_connection *connection);

#endif
