"""The job: options, connections, sources, warehouses and the graph between them."""
