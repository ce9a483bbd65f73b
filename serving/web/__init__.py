"""Answers over HTTP: `ebbtide serve`."""
