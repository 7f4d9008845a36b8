"""The figures of `make bench`: a traffic generator on the core under test, the floor, the peers, the results."""
