-- The group_ids of events for which there is no account.
SELECT event.group_id, COUNT(DISTINCT event.message_id) AS events, COUNT(*) OVER () AS total
FROM events AS event
LEFT JOIN accounts AS account ON account.account_id = event.group_id
WHERE
  event.received_at >= TIMESTAMP_MICROS(@since) AND event.received_at < TIMESTAMP_MICROS(@until)
  AND event.group_id IS NOT NULL
  AND account.account_id IS NULL
GROUP BY event.group_id
ORDER BY events DESC, event.group_id
LIMIT 20
