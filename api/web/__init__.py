"""The page for people: a model's costs on every device, as charts and tables, in the browser."""
