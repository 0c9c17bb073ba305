"""The graph and its operation: its definition, where it runs, compiling it, running it on this machine."""
