"""Items of recommendation: tables, listening counts, texts, patches, and the folder that holds them."""
