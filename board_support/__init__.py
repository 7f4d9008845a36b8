"""Boards: facts about a card, and the only code that names backends."""
