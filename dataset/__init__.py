"""Networks and their measurements: builders, search spaces, the database, imports and exports."""
