"""What can be refused before anything starts."""
