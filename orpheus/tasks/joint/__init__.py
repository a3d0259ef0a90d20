"""Joint: tags, songs and listeners in one space."""
