"""What everybody does, and how often users come back: counted row by row as rows become due."""
