-- Which file of the extracted tree belongs to a source, so that both can be checked against each other.
ALTER TABLE image_source ADD COLUMN path text;
COMMENT ON COLUMN image_source.path IS
    'Where the image was extracted, below its archive''s folder: empty for member_name itself, null for nowhere here.';
