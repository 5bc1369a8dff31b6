-- A run that took a file in before an image was deleted must not record it afterwards: its file is gone.
CREATE TABLE deleted_image (
    sha256 bytea PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY
);
COMMENT ON TABLE deleted_image IS 'Images deleted one by one, numbered in the order of their deletion.';
CREATE INDEX deleted_image_number ON deleted_image (number);
