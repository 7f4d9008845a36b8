"""Linters are tests."""
