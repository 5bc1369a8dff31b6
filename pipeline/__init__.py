"""Turn zips of images into a checked, de-duplicated catalog in Postgres."""
