"""Assets of the capacity plans."""
