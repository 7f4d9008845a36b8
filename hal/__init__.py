"""The hardware abstraction layer: contracts and their backends. Imports nothing of ours."""
