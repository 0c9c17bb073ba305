"""What runs on which machines: the graph, its tasks and targets, and the compiled spec."""
