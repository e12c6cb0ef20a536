"""Methods against each other on the same catalogs, at equal budget and with equal tuning."""
