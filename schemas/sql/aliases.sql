-- The alias calls, each once, in the columns of Segment's own warehouse.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  previous_id,
  -- include _times.sql
  -- include _context.sql
FROM identity_calls_unique
WHERE type = 'alias'
