"""The HTTP server: listeners, TLS, passwords, and the exporter-toolkit's web configuration."""
