"""Dagster definitions, one folder per part of the day. Nothing outside imports from here."""
