"""Several interests a user, and items near them."""
