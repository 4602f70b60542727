"""Why an instance answers or not: one value, which the command, the page and the API show."""
