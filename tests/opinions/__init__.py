"""Third opinions: what Linux's connection tracking says of the same packets."""
