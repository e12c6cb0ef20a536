"""The routes, a module for each thing that a client does."""
