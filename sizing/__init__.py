"""Does it fit, how fast, how many: the physics of serving language models. No input or output, no money."""
