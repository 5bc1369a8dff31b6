-- Members whose refusal may not hold any more: the next run over their archive takes them again.
ALTER TABLE unstored_member ADD COLUMN again boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN unstored_member.again IS 'Asked to be taken again; the verdict holds until then.';
CREATE INDEX unstored_member_reason ON unstored_member (reason);
