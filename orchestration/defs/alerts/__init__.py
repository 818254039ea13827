"""Incidents from what the marts found, and the sensors that deliver."""
