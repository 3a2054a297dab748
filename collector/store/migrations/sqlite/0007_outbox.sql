-- data_done: the present attempt began to hand the mail's text over, so that the relay may have taken it.
-- ambiguous: an earlier attempt may have been taken, of which no answer is known; a second one like it
-- ends the mail as unknown.
ALTER TABLE outbox ADD COLUMN data_done INTEGER NOT NULL DEFAULT 0;
-- What was on its way when the mark did not exist yet may have been handed over.
UPDATE outbox SET data_done = 1 WHERE state = 'leased';
ALTER TABLE outbox DROP COLUMN lost_leases;
ALTER TABLE outbox DROP COLUMN reply_ambiguous;
