"""What measures how fast every stage is: against the machine's ceilings and against plain loops."""
