"""What the card's own ports are called: names before which an intent's mean nothing."""

PUNT_PREFIX = "punt-"
"""A port with this before a VRF's name is that VRF's punt tap, whatever the intent says."""
SPARE_PREFIX = "spare-tap-"
"""A port with this before a number is a tap of whichever VRF needs one."""
