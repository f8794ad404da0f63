-- The most frequent events, with how many people did each, and at how many accounts.
SELECT
  type,
  name,
  COUNT(DISTINCT message_id) AS events,
  COUNT(DISTINCT external_id) AS people,
  COUNT(DISTINCT account_id) AS accounts,
  COUNT(*) OVER () AS total
FROM events_resolved
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
GROUP BY type, name
ORDER BY events DESC, type, name
LIMIT 20
