-- The first sources of an image are read in order, however many there are.
CREATE INDEX image_source_image_order ON image_source (image_id, id);
DROP INDEX image_source_image;
-- Listings are filtered by the archive's name.
CREATE INDEX archive_name ON archive (left(name, 500));
