"""Catalogs that are no test sets: embedding in shards that can be stopped and gone on with, on one
machine or on a cluster."""
