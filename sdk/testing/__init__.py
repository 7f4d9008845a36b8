"""Conformance kits and twins for authors of backends, stages, services and agents; a module for each. See README.md."""
