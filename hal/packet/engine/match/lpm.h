/* More of the LPM than table.h needs: lookups in bursts. */
#ifndef DSN_LPM_H
#define DSN_LPM_H

#include <stdint.h>

/* `count` lookups whose memory accesses overlap: slot[i] is dsn_lpm_find(match, scope[i], address[i]). */
void dsn_lpm_find_burst(const void *match, uint32_t count, const uint64_t *scope, const uint8_t (*address)[16],
                        uint32_t *slot);

#endif
