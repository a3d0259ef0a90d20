"""Networks of texts, patches and vectors, alone or together."""
