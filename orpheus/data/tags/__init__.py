"""Tags: sources, spelling, cleaning, and the classes made of them."""
