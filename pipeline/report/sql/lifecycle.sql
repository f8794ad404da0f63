-- Of the people with an event in the period: how many are contacts, how many of those have an account, and how many of
-- those came on two days or more.
SELECT
  COUNT(*) AS seen,
  COUNT(IF(is_contact, 1, NULL)) AS identified,
  COUNT(IF(is_contact AND has_account, 1, NULL)) AS in_account,
  COUNT(IF(is_contact AND has_account AND days > 1, 1, NULL)) AS returned
FROM (
  SELECT
    event.external_id,
    COUNT(DISTINCT DATE(event.timestamp)) AS days,
    MAX(contact.external_id) IS NOT NULL AS is_contact,
    MAX(contact.account_id) IS NOT NULL AS has_account
  FROM events_resolved AS event
  LEFT JOIN contacts AS contact ON contact.external_id = event.external_id
  WHERE event.received_at >= TIMESTAMP_MICROS(@since) AND event.received_at < TIMESTAMP_MICROS(@until)
  GROUP BY event.external_id
)
