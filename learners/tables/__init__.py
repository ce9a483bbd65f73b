"""Rows and counts that grow with users and items: what learners are built of."""
