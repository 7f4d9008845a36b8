"""The door: what users import and run. Composition, no packet or trust logic."""
