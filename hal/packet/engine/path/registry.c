/* The stages that have code, by number. */
#include "build_config.h"
#include "stage.h"

#define X(name) extern const struct dsn_stage DSN_STAGE(name);
DSN_BUILT_STAGES(X)
#undef X

#define X(name) [DSN_STAGE_NUMBER_##name] = &DSN_STAGE(name),
const struct dsn_stage *const DSN_TWICE(dsn_stage_table)[DSN_STAGES] = {DSN_BUILT_STAGES(X)};
#undef X
