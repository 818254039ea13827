"""What each model does on each GPU."""
