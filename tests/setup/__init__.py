"""Set-up, tried on machines that have nothing."""
