"""What runs a partition: from messages to examples, exactly once."""

import builtins

builtins.print = getattr(getattr(print, "__self__", None), "_print", print)
"""PyFlink's workers put a function of theirs in its place, and numba, which looks for the real one, can then
not be imported any more; whatever is printed still goes to their log."""
