-- The track calls, in the columns of Segment's own warehouse: event_text is the event's name, event its slug (Order
-- Completed: order_completed). The views of python -m schemas event_views have properties as columns.
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
  external_id, -- the label of the contact that the event belongs to now
  account_id -- the company, as in events_resolved
FROM events_resolved
WHERE type = 'Action'
