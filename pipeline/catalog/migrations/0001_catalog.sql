CREATE TABLE image_info (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    sha1 bytea NOT NULL CHECK (octet_length(sha1) = 20),
    width integer NOT NULL,
    height integer NOT NULL,
    type text NOT NULL,
    byte_size bigint NOT NULL,
    local_url text NOT NULL,
    mode text NOT NULL,
    frames integer NOT NULL,
    orientation smallint,
    captured_at timestamp,
    captured_offset text,
    dhash bigint,
    remarks text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE image_info IS 'One row for each distinct image; identity is sha256.';
COMMENT ON COLUMN image_info.width IS 'Pixels as stored, before orientation.';
COMMENT ON COLUMN image_info.captured_at IS 'As the camera wrote it, in the zone of captured_offset where known.';
COMMENT ON COLUMN image_info.dhash IS '64-bit difference hash of the picture.';
CREATE INDEX image_info_sha1 ON image_info (sha1);

CREATE TABLE archive (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    name text NOT NULL,
    folder text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN ('running', 'done', 'rejected', 'failed')),
    reason text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT '',
    size bigint NOT NULL,
    members integer NOT NULL DEFAULT 0,
    stored integer NOT NULL DEFAULT 0,
    duplicate integer NOT NULL DEFAULT 0,
    rejected integer NOT NULL DEFAULT 0,
    ignored integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    damaged integer NOT NULL DEFAULT 0,
    first_seen timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
COMMENT ON TABLE archive IS 'The ledger: one row for each archive, by the digest of its directory and size.';
COMMENT ON COLUMN archive.damaged IS 'Members refused for damage that a good copy may cure.';

CREATE TABLE archive_file (
    name text NOT NULL,
    size bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    inode numeric(20) NOT NULL,
    archive_id bigint NOT NULL REFERENCES archive ON DELETE CASCADE,
    PRIMARY KEY (name, size, mtime_ns, inode)
);
COMMENT ON TABLE archive_file IS 'Deliveries seen, so that a processed file is recognised without opening it.';
CREATE INDEX archive_file_archive ON archive_file (archive_id);

CREATE TABLE image_source (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_id bigint NOT NULL REFERENCES image_info ON DELETE CASCADE,
    archive_id bigint REFERENCES archive ON DELETE CASCADE,
    member_index integer,
    member_name text,
    url text,
    verdict text NOT NULL CHECK (verdict IN ('stored', 'duplicate')),
    added_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (archive_id, member_index),
    CHECK ((url IS NULL) = (archive_id IS NOT NULL AND member_index IS NOT NULL AND member_name IS NOT NULL))
);
COMMENT ON TABLE image_source IS 'One row for each place an image came from: a member of an archive, or a URL.';
CREATE INDEX image_source_image ON image_source (image_id);
CREATE UNIQUE INDEX image_source_url ON image_source (image_id, md5(url)) WHERE url IS NOT NULL;

CREATE TABLE unstored_member (
    archive_id bigint NOT NULL REFERENCES archive ON DELETE CASCADE,
    member_index integer NOT NULL,
    member_name text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('rejected', 'ignored', 'failed')),
    reason text NOT NULL,
    detail text NOT NULL DEFAULT '',
    PRIMARY KEY (archive_id, member_index)
);
COMMENT ON TABLE unstored_member IS 'One row for each member that is not stored, with the reason.';

CREATE VIEW image AS
SELECT id, encode(sha256, 'hex') AS sha256, encode(sha1, 'hex') AS sha1, type, width, height, byte_size, local_url,
       mode, frames, orientation, captured_at, captured_offset, lpad(to_hex(dhash), 16, '0') AS dhash, remarks, created_at
FROM image_info;
COMMENT ON VIEW image IS 'image_info with digests in hex, for people.';
