-- The track calls, each once, in the columns of Segment's own warehouse: event_text is the event's name, event its slug
-- (Order Completed: order_completed). Properties are in events.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  -- include _event_times.sql
  -- include _context.sql
  TRIM(
    LOWER(REGEXP_REPLACE(REGEXP_REPLACE(name, r'([a-z][0-9]*)([A-Z])', r'\1_\2'), r'[^a-zA-Z0-9]+', '_')),
    '_'
  ) AS event, -- the event's name as a slug: `order_completed` for `Order Completed`
  name AS event_text, -- the event's name
  connection,
  properties,
  context,
  external_id,
  account_id
FROM events_resolved
WHERE type = 'Action'
