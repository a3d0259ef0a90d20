"""What tags mean: word vectors, co-occurrence, clusters."""
