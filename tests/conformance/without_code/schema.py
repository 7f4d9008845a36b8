"""It needs no tables to be refused."""

from hal.packet.schema.declare import StageSchema

SCHEMA = StageSchema("uncoded", "A stage that nobody has written.")
