-- Identity calls of the period by how long after they were received they were written.
SELECT
  CASE
    WHEN UNIX_MICROS(written_at) - UNIX_MICROS(received_at) < 10000000 THEN 0
    WHEN UNIX_MICROS(written_at) - UNIX_MICROS(received_at) < 60000000 THEN 1
    WHEN UNIX_MICROS(written_at) - UNIX_MICROS(received_at) < 600000000 THEN 2
    WHEN UNIX_MICROS(written_at) - UNIX_MICROS(received_at) < 3600000000 THEN 3
    WHEN UNIX_MICROS(written_at) - UNIX_MICROS(received_at) < 86400000000 THEN 4
    ELSE 5
  END AS bucket,
  COUNT(DISTINCT message_id) AS calls
FROM identity_calls
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until) AND written_at IS NOT NULL
GROUP BY bucket
ORDER BY bucket
