-- The page calls, in the columns of Segment's own warehouse. Other properties are in properties.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  -- include _event_times.sql
  -- include _context.sql
  NULLIF(name, '') AS name, -- the page's name, NULL where it has none
  JSON_VALUE(properties, '$.path') AS path,
  JSON_VALUE(properties, '$.referrer') AS referrer,
  JSON_VALUE(properties, '$.search') AS search,
  JSON_VALUE(properties, '$.title') AS title,
  JSON_VALUE(properties, '$.url') AS url,
  connection,
  properties,
  context,
  external_id, -- the label of the contact that the event belongs to now
  account_id -- the company, as in events_resolved
FROM events_resolved
WHERE type = 'Page'
