/* All that differs between the DPDK releases that the engine is built with: 22.11 (Debian 12) and 24.11 (Debian 13).
 * No other file asks for the release, which tests/unit/test_engine_c.py holds. What also differs, and the engine does
 * without: rte_fib6 and rte_lpm6 (another address type), rte_pcapng_copy (other arguments). */
#ifndef DSN_COMPAT_H
#define DSN_COMPAT_H

#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#    error "the engine is for DPDK 22.11 and newer"
#endif

/* IPv6 has left rte_ip.h for a header of its own, and its addresses are a struct there, no longer an array. */
#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
#    include <rte_ip4.h>
#    include <rte_ip6.h>
#else
#    include <rte_ip.h>
#endif

#endif
