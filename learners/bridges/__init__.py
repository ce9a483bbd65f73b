"""Learners as estimators of other libraries."""
