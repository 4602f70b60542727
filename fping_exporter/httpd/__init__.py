"""The HTTP server: listeners, TLS, authentication, and the exporter-toolkit's web configuration."""
