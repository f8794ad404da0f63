-- The screen calls, each once, in the columns of Segment's own warehouse. Other properties are in events.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  -- include _event_times.sql
  -- include _context.sql
  NULLIF(name, '') AS name, -- the screen's name, NULL where it has none
  connection,
  properties,
  context,
  external_id,
  account_id
FROM events_resolved
WHERE type = 'Screen'
