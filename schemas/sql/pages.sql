-- The page calls, in the columns of Segment's own warehouse. Other properties are in properties.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  -- include _event_times.sql
  -- include _context.sql
  NULLIF(name, '') AS name, -- the page's name, NULL where it has none
  JSON_TEXT(properties, '$.path') AS path,
  JSON_TEXT(properties, '$.referrer') AS referrer,
  JSON_TEXT(properties, '$.search') AS search,
  JSON_TEXT(properties, '$.title') AS title,
  JSON_TEXT(properties, '$.url') AS url,
  connection,
  properties,
  context,
  external_id, -- the label of the contact that the event belongs to now
  account_id -- the company, as in events_resolved
FROM events_resolved
WHERE type = 'Page'
