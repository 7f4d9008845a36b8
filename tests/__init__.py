"""All tests. Each suite is a folder; `tests/run.py` lists them."""
