-- When the newest event or identity call of a time was received.
SELECT UNIX_MICROS(MAX(received_at)) AS received_at
FROM (
  SELECT received_at
  FROM events
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT received_at
  FROM identity_calls
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
)
