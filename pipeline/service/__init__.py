"""Running the graph on a service: request, cost, repetition."""
