"""The event path: schema, operator, engines."""
