"""What is kept in training stands still at the right value."""
