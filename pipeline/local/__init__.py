"""Running the graph on this machine, through kfp's local runner."""
