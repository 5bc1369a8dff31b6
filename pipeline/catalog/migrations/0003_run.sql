CREATE TABLE run (
    id uuid PRIMARY KEY,
    command text NOT NULL,
    sink text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'failed', 'died')),
    started timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished timestamptz,
    lease_until timestamptz,
    exit_code smallint,
    message text NOT NULL DEFAULT '',
    archives_done integer NOT NULL DEFAULT 0,
    archives_known integer NOT NULL DEFAULT 0,
    archives_rejected integer NOT NULL DEFAULT 0,
    archives_failed integer NOT NULL DEFAULT 0,
    archives_waiting integer NOT NULL DEFAULT 0,
    members bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    ignored bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE run IS 'The history: one row for each run, with its balance.';
COMMENT ON COLUMN run.lease_until IS
    'Until when a run that holds no advisory lock here, because it came through the API, counts as alive.';
CREATE INDEX run_started ON run (started);
CREATE INDEX run_running ON run (id) WHERE state = 'running';
