"""Fuzzing: targets, their kept corpora, and what runs them. See README.md."""
