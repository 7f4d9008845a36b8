"""`dsn`: what a person and a script type. Reads, asks and prints; decides nothing."""
