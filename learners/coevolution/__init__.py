"""Co-evolution of a Relevance and a Novelty model over clusters of items (CoEA, arXiv:2508.00450), on a
stream: what is the paper's and what is ours is said in `docs/coevolution.md`."""
