-- No notification gets a fourth attempt, and none that was asked for by hand a second one, also if a person writes the queue: a row that waits has
-- made fewer than it may, and one under way is at most the last. A row that breaks this would be claimed and sent.
--
-- Lock: the queue is read once while nobody else uses it, some 0.3 s for a million rows.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
  wrong bigint;
BEGIN
  SELECT count(*) INTO wrong FROM queue WHERE NOT (attempts >= 0 AND attempts < CASE WHEN manual THEN 1 ELSE 3 END + CASE WHEN token IS NULL THEN 0 ELSE 1 END);
  IF wrong > 0 THEN
    RAISE EXCEPTION 'the queue has % rows with more attempts than the rule allows; no release wrote them: correct or delete them by hand (SELECT * FROM arauto.queue WHERE NOT (attempts >= 0 AND attempts < CASE WHEN manual THEN 1 ELSE 3 END + CASE WHEN token IS NULL THEN 0 ELSE 1 END))', wrong;
  END IF;
  ALTER TABLE queue ADD CONSTRAINT queue_attempts
    CHECK (attempts >= 0 AND attempts < CASE WHEN manual THEN 1 ELSE 3 END + CASE WHEN token IS NULL THEN 0 ELSE 1 END);
END
$$;
-- +goose StatementEnd

-- +goose Down
ALTER TABLE queue DROP CONSTRAINT queue_attempts;
