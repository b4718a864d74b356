"""From what plugins do to records in the bus's journal. The observed never notices."""
