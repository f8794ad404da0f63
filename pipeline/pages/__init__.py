"""HTML pages without any outside asset: what the report and the page of a person are made of."""
