"""`dsn new`: skeletons of stages and backends, with their first failing test."""
