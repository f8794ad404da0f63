-- The identify calls, each once, with the traits that each carried, in the columns of Segment's own warehouse. Other
-- traits are in identity_calls.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  -- include _times.sql
  -- include _context.sql
  -- include _traits.sql
  SAFE_CAST(REGEXP_EXTRACT(
    COALESCE(JSON_VALUE(traits, '$.createdAt'), JSON_VALUE(traits, '$.created_at')),
    r'^[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)$'
  ) AS TIMESTAMP) AS created_at
FROM identity_calls_unique
WHERE type = 'identify'
