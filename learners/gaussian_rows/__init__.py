"""Rows of weights with their uncertainty, for P(action)."""
