"""What comes from outside, drawn from a seed and spoilt on purpose: `python -m tests.fuzz --seconds 60`.

A case is data: what was drawn, not what was done, so a failing one is made smaller by leaving parts of it
out. Case K of seed S is the same whatever ran before it: `--seed S --only K` runs it alone.
"""
