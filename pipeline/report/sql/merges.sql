-- Ids that are part of another id's contact, by the day of the first call that named both. The whole log is read, of a
-- few narrow columns: what was said before the period began must not count as said in it.
SELECT DATE(first_at) AS day, COUNT(*) AS ids
FROM (
  SELECT identity.id, MIN(call.timestamp) AS first_at
  FROM identities AS identity
  JOIN (
    SELECT COALESCE(previous_id, anonymous_id) AS id, user_id, timestamp
    FROM identity_calls
    WHERE received_at >= TIMESTAMP('1960-01-01 00:00:00+00') AND type IN ('alias', 'identify')
  ) AS call ON call.id = identity.id
  WHERE call.user_id != call.id
  GROUP BY identity.id
)
WHERE first_at >= TIMESTAMP_MICROS(@since) AND first_at < TIMESTAMP_MICROS(@until)
GROUP BY day
ORDER BY day
