"""A fleet of exporters: agents that ping, and centrals that list and answer for all."""
