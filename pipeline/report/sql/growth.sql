-- Contacts and accounts by the week in which a call first named them.
SELECT week, SUM(contacts) AS contacts, SUM(accounts) AS accounts
FROM (
  SELECT CAST(DATE_TRUNC(DATE(first_identified_at), ISOWEEK) AS DATE) AS week, 1 AS contacts, 0 AS accounts
  FROM contacts
  WHERE first_identified_at >= TIMESTAMP_MICROS(@since) AND first_identified_at < TIMESTAMP_MICROS(@until)
  UNION ALL
  SELECT CAST(DATE_TRUNC(DATE(first_named_at), ISOWEEK) AS DATE) AS week, 0 AS contacts, 1 AS accounts
  FROM accounts_resolved
  WHERE first_named_at >= TIMESTAMP_MICROS(@since) AND first_named_at < TIMESTAMP_MICROS(@until)
)
GROUP BY week
ORDER BY week
