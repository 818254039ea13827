"""What runs in the clusters."""
