"""What an operator does to a whole installation: back up, restore, check, copy, examine."""
