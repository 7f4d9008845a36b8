"""Declared tables: the language, its wire layout, typed rows, the registry of stages and the generator."""
