"""A mixture of experts: how candidates are weighed by what each expert says of them."""
