-- The screen calls, in the columns of Segment's own warehouse. Properties are in properties.
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
  external_id, -- the label of the contact that the event belongs to now
  account_id -- the company, as in events_resolved
FROM events_resolved
WHERE type = 'Screen'
