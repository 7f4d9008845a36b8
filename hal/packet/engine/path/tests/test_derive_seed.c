/* The hashes of what is derived of vNICs differ from root to root: nobody can choose keys that collide. */
#include "path.h"
#include "path/derived.h"
#include "path/tests/check.h"

#define ROOTS 8

int main(void) {
    static struct dsn_root root[ROOTS];
    for (unsigned i = 0; i < ROOTS; i++) {
        for (unsigned table = 0; table < DSN_TABLES; table++)
            root[i].table[table].capacity = 1;
        CHECK(dsn_root_extras_create(&root[i]));
        for (unsigned before = 0; before < i; before++)
            CHECK(dsn_derive_mix(root[i].derived, 1, 2) != dsn_derive_mix(root[before].derived, 1, 2));
    }
    for (unsigned i = 0; i < ROOTS; i++)
        dsn_root_extras_destroy(&root[i]);
    return 0;
}
