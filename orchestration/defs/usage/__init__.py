"""Metric scrapes and serving logs."""
