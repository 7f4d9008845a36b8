"""The card's daemon: keeps the engine alive and loaded with the card's intent, and serves the API."""
