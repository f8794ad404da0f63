-- Of the people with an event in the period: how many are contacts, how many of those have an account, and how many of
-- those came on two days or more.
SELECT
  COUNT(*) AS seen,
  COUNTIF(is_contact) AS identified,
  COUNTIF(is_contact AND has_account) AS in_account,
  COUNTIF(is_contact AND has_account AND days > 1) AS returned
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
