"""Simulated users with known interests: what a method can do where its assumptions hold, and no more."""
