"""Files that a user gives or a command writes: read in one way, written whole or not at all."""
