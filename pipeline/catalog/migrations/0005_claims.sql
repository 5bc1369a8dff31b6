-- Runs that deliver through the API hold archives by a lease; a direct run holds them by advisory locks.
CREATE TABLE claimant (
    run uuid PRIMARY KEY,
    host text NOT NULL,
    process text NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE claimant IS 'Runs through the API that hold archives, until when unless they are heard of again.';

CREATE TABLE archive_claim (
    archive_id bigint PRIMARY KEY REFERENCES archive ON DELETE CASCADE,
    run uuid NOT NULL REFERENCES claimant ON DELETE CASCADE
);
COMMENT ON TABLE archive_claim IS 'Archives held by runs through the API.';
CREATE INDEX archive_claim_run ON archive_claim (run);
