#include "path/news.h"

#include "path/bytes.h"
#include "path/flows.h"
#include "path/hash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#define PLACES 65536
#define AGAIN DSN_SECOND /* between two times that the same is told */

struct place {
    _Atomic int32_t known, asking; /* workers */
    _Atomic uint64_t mac, told_ns; /* what was told last, and when */
};

struct dsn_news {
    uint64_t seed[3]; /* secret */
    struct place place[PLACES];
};

struct dsn_news *dsn_news_create(void) {
    struct dsn_news *news = calloc(1, sizeof(*news));
    if (news != NULL && getrandom(news->seed, sizeof(news->seed), 0) == (ssize_t)sizeof(news->seed))
        return news;
    free(news);
    return NULL;
}

void dsn_news_destroy(struct dsn_news *news) {
    free(news);
}

static struct place *place_of(struct dsn_news *news, uint64_t uplink, const uint8_t address[16]) {
    uint64_t h = dsn_fold64(dsn_word(address, 0) ^ news->seed[0], dsn_word(address, 1) ^ news->seed[1]);
    return &news->place[dsn_fold64(h, uplink ^ news->seed[2]) % PLACES];
}

void dsn_news_count(struct dsn_news *news, uint64_t uplink, const uint8_t address[16], int known, int asking) {
    struct place *place = place_of(news, uplink, address);
    atomic_fetch_add(&place->known, known);
    atomic_fetch_add(&place->asking, asking);
}

bool dsn_news_tell(struct dsn_news *news, uint64_t uplink, const uint8_t address[16], const uint8_t mac[6],
                   uint64_t now, bool here, bool *known) {
    struct place *place = place_of(news, uplink, address);
    uint64_t told = dsn_mac(mac);
    *known = atomic_load(&place->known) > here;
    if (!*known)
        return false;
    /* Who has heard of it just now asks no more: whoever still does hasn't. */
    if (atomic_load(&place->asking) <= 0 && atomic_load(&place->mac) == told &&
        now - atomic_load(&place->told_ns) < AGAIN)
        return false;
    atomic_store(&place->mac, told);
    atomic_store(&place->told_ns, now);
    return true;
}
