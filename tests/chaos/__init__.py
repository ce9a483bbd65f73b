"""Everything is killed, filled, emptied or lied to at random moments: `make chaos SEEDS=200`.

One seed: a stream with repeated and unordered events goes through two workers and a trainer, while
`replay.faults` happen to workers, trainer, broker, store, topics and senders as that seed has it. Then, by
identity:

- every partition's examples and dead letters are, bit for bit, what one engine makes of that partition;
- an event with a time that cannot be is a dead letter, and nothing else is;
- the trainer has had every example once;
- versions in the store never went back, and it has every user as of the newest event.
"""
