"""The twin board: everything in Python, no root."""
