"""The chat services, one folder each, with the same files in each; siblings never import each other."""
