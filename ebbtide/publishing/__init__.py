"""What readers see: made, sent, kept in a mirror."""
