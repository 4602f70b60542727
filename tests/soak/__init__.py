"""A quarter of an hour of changes and faults, and every answer of the exporter judged: ``make soak``."""
