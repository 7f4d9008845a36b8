"""The conformance kit, run against our backends, and against backends broken on purpose."""
