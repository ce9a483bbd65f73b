"""What a run came to: as data, as a page, at the terminal."""
