"""Set-up on machines that have nothing, and the engine on the other Debian."""
