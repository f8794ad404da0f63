-- What the times of the period's events say about clocks and networks.
SELECT
  COUNT(*) AS events,
  COUNTIF(UNIX_MICROS(timestamp) > UNIX_MICROS(received_at) + 300000000) AS ahead,
  COUNTIF(UNIX_MICROS(timestamp) < UNIX_MICROS(received_at) - 86400000000) AS day_late,
  COUNTIF(UNIX_MICROS(timestamp) < UNIX_MICROS(received_at) - 604800000000) AS week_late,
  COUNTIF(ABS(UNIX_MICROS(sent_at) - UNIX_MICROS(received_at)) > 3600000000) AS wrong_clock
FROM events_unique
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
