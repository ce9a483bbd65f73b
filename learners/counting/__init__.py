"""What floors count by, and which of their variants speaks."""
