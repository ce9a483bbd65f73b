"""Impressions and their feedback."""
