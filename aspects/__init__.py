"""The advice itself, one aspect a file."""
