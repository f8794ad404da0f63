-- What the times of the period's events say about clocks and networks.
SELECT
  COUNT(DISTINCT message_id) AS events,
  COUNT(DISTINCT IF(UNIX_MICROS(timestamp) > UNIX_MICROS(received_at) + 300000000, message_id, NULL)) AS ahead,
  COUNT(DISTINCT IF(UNIX_MICROS(timestamp) < UNIX_MICROS(received_at) - 86400000000, message_id, NULL)) AS day_late,
  COUNT(DISTINCT IF(UNIX_MICROS(timestamp) < UNIX_MICROS(received_at) - 604800000000, message_id, NULL)) AS week_late,
  COUNT(DISTINCT IF(ABS(UNIX_MICROS(sent_at) - UNIX_MICROS(received_at)) > 3600000000, message_id, NULL)) AS wrong_clock
FROM events
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
