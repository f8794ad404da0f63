-- What the times of the period's events say about clocks and networks.
SELECT
  COUNT(*) AS events,
  COUNT(IF(UNIX_MICROS(timestamp) > UNIX_MICROS(received_at) + 300000000, 1, NULL)) AS ahead,
  COUNT(IF(UNIX_MICROS(timestamp) < UNIX_MICROS(received_at) - 86400000000, 1, NULL)) AS day_late,
  COUNT(IF(UNIX_MICROS(timestamp) < UNIX_MICROS(received_at) - 604800000000, 1, NULL)) AS week_late,
  COUNT(IF(ABS(UNIX_MICROS(sent_at) - UNIX_MICROS(received_at)) > 3600000000, 1, NULL)) AS wrong_clock
FROM events_unique
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
