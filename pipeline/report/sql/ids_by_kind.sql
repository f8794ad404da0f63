-- The ids that events and identity calls of the period carry, each once for each way in which it was sent.
SELECT
  field,
  REGEXP_CONTAINS(id, r'^[^@\s]+@[^@\s]+\.[^@\s]+$') AS is_address,
  COUNT(DISTINCT id) AS ids
FROM (
  SELECT 'user_id' AS field, user_id AS id
  FROM events
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT 'user_id' AS field, user_id AS id
  FROM identity_calls
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT 'anonymous_id' AS field, anonymous_id AS id
  FROM events
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT 'anonymous_id' AS field, anonymous_id AS id
  FROM identity_calls
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT 'previous_id' AS field, previous_id AS id
  FROM identity_calls
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
)
WHERE id IS NOT NULL
GROUP BY field, is_address
ORDER BY field, is_address
