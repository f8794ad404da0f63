-- The screen calls, each once, in the columns of Segment's own warehouse. Other properties are in events.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  received_at,
  sent_at,
  timestamp,
  -- include _context.sql
  NULLIF(name, '') AS name -- the screen's name, NULL where it has none
FROM events_unique
WHERE type = 'Screen'
