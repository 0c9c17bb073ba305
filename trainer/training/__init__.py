"""One training from its first step to its last, whatever interrupts it."""
