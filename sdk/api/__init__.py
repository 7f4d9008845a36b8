"""The card's API (dsn.v1): protobufs, conversions to the contract's values, the client."""
