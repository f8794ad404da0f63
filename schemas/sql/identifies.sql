-- The identify calls, each once, with the traits that each carried, in the columns of Segment's own warehouse. Those
-- that contacts has as well are read by its rules. Other traits are in traits.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  -- include _times.sql
  -- include _context.sql
  -- include _traits.sql
  JSON_VALUE(promoted, '$.email') AS email,
  JSON_VALUE(promoted, '$.name') AS name,
  JSON_VALUE(promoted, '$.first_name') AS first_name,
  JSON_VALUE(promoted, '$.last_name') AS last_name,
  JSON_VALUE(promoted, '$.phone') AS phone,
  JSON_VALUE(promoted, '$.title') AS title,
  JSON_VALUE(promoted, '$.username') AS username,
  JSON_VALUE(promoted, '$.website') AS website,
  SAFE_CAST(JSON_VALUE(promoted, '$.created_at') AS TIMESTAMP) AS created_at,
  connection,
  traits,
  context,
  external_id, -- the label of the contact that the call belongs to now
  account_id -- the company, as in identity_calls_resolved
FROM identity_calls_resolved
WHERE type = 'identify'
