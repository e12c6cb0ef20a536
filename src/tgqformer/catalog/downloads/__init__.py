"""Photos that a catalog knows by URL only: fetched with care, kept by URL, put into the catalog.

`download_images` takes any URLs, `download_catalog_images` those in a catalog's labels.
"""
