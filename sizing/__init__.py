"""Does it fit, how fast, how many, how much to reserve: pure maths, no input or output, no database."""
