"""Verdicts: which instances are asked, from where, and what their answers mean. Pure functions."""
