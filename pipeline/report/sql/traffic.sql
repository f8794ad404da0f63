-- Events and identity calls by the day on which they were first received, and by type.
SELECT DATE(received_at) AS day, type, COUNT(*) AS calls
FROM (
  SELECT message_id, type, MIN(received_at) AS received_at
  FROM events
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  GROUP BY message_id, type
  UNION ALL
  SELECT message_id, type, MIN(received_at) AS received_at
  FROM identity_calls
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  GROUP BY message_id, type
)
GROUP BY day, type
