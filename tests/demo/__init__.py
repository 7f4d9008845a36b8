"""The demo: a software card, real hosts around it, and what they can and can't do."""
