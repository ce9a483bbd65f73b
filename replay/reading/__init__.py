"""Files as they are: bytes, text, tables, chunks of rows."""
