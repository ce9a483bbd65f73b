"""What a user's past is: written event by event, fading, read before it is written to."""
