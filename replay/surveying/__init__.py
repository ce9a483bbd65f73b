"""A look over a whole log: how many of what it holds, in which order, and what is wrong."""
