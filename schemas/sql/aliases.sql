-- The alias calls, each once, in the columns of Segment's own warehouse.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  previous_id,
  -- include _times.sql
  -- include _context.sql
  connection,
  context,
  external_id, -- the label of the contact that the call belongs to now
  account_id -- the company, as in identity_calls_resolved
FROM identity_calls_resolved
WHERE type = 'alias'
