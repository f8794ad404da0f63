-- Events by type: how many belong to a contact, how many to an account.
SELECT
  event.type,
  COUNT(DISTINCT event.message_id) AS events,
  COUNT(DISTINCT IF(contact.external_id IS NOT NULL, event.message_id, NULL)) AS of_contacts,
  COUNT(DISTINCT IF(event.account_id IS NOT NULL, event.message_id, NULL)) AS of_accounts,
  COUNT(DISTINCT IF(event.user_id IS NULL, event.message_id, NULL)) AS anonymous
FROM events_resolved AS event
LEFT JOIN contacts AS contact ON contact.external_id = event.external_id
WHERE event.received_at >= TIMESTAMP_MICROS(@since) AND event.received_at < TIMESTAMP_MICROS(@until)
GROUP BY event.type
ORDER BY event.type
