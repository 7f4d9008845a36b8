"""The packet engine contract, its twin and the driver of the real one."""
