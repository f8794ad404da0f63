-- What there is: contacts, accounts and ids of any time, and how many events, people and identity calls the period has.
SELECT
  (SELECT COUNT(*) FROM contacts) AS contacts,
  (SELECT COUNT(*) FROM accounts_resolved) AS accounts,
  (SELECT COUNT(*) FROM identities) AS absorbed_ids,
  (SELECT COUNT(*) FROM memberships) AS memberships,
  (
    SELECT COUNT(DISTINCT message_id)
    FROM identity_calls
    WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  ) AS identity_calls,
  COUNT(DISTINCT message_id) AS events,
  COUNT(DISTINCT external_id) AS people
FROM events_resolved
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
