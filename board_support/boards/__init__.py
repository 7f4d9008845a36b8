"""A folder a board."""
