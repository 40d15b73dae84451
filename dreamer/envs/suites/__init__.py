"""One module for each library of environments."""
