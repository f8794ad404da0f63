-- The ids that events and identity calls of the period carry, each once for each way in which it was sent.
SELECT
  sent.field AS field,
  REGEXP_CONTAINS(sent.id, r'^[^@\s]+@[^@\s]+\.[^@\s]+$') AS is_address,
  COUNT(DISTINCT sent.id) AS ids
FROM (
  SELECT user_id, anonymous_id, CAST(NULL AS STRING) AS previous_id
  FROM events
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT user_id, anonymous_id, previous_id
  FROM identity_calls
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
)
CROSS JOIN UNNEST([
  STRUCT('user_id' AS field, user_id AS id),
  STRUCT('anonymous_id' AS field, anonymous_id AS id),
  STRUCT('previous_id' AS field, previous_id AS id)
]) AS sent
WHERE sent.id IS NOT NULL
GROUP BY field, is_address
ORDER BY field, is_address
