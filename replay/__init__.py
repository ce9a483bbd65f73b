"""Logged files in: readers, mappings, side tables, known logs, planted streams."""
