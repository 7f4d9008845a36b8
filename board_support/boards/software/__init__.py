"""The software card: the real engine on this machine."""
