"""The Image API: the catalog over HTTP."""
