"""The song index: filled, stored, queried."""
