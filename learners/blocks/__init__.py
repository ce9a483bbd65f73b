"""Building blocks of networks, in torch alone: they know tensors, and nothing of streams or learners."""
