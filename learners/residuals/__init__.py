"""Parts that learn what a base model leaves unexplained."""
