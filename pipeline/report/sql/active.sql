-- Who was active in each week: people with or without a name, contacts, and accounts.
SELECT
  CAST(DATE_TRUNC(DATE(event.received_at), ISOWEEK) AS DATE) AS week,
  COUNT(DISTINCT event.external_id) AS people,
  COUNT(DISTINCT contact.external_id) AS contacts,
  COUNT(DISTINCT event.account_id) AS accounts
FROM events_resolved AS event
LEFT JOIN contacts AS contact ON contact.external_id = event.external_id
WHERE event.received_at >= TIMESTAMP_MICROS(@since) AND event.received_at < TIMESTAMP_MICROS(@until)
GROUP BY week
ORDER BY week
