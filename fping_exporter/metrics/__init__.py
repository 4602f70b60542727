"""Prometheus metrics: those of a snapshot, and the exporter's own."""
