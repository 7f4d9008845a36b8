"""A stage that is declared and has no code: a profile that names it is refused."""
