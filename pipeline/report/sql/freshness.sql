-- When the newest rows of the period were received, and when rows were last written.
SELECT
  (
    SELECT UNIX_MICROS(MAX(received_at))
    FROM events
    WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  ) AS event_received_at,
  (
    SELECT UNIX_MICROS(MAX(received_at))
    FROM identity_calls
    WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  ) AS call_received_at,
  (
    SELECT UNIX_MICROS(MAX(written_at))
    FROM identity_calls
    WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
  ) AS call_written_at,
  (SELECT UNIX_MICROS(MAX(updated_at)) FROM contacts) AS contact_written_at,
  (SELECT UNIX_MICROS(MAX(updated_at)) FROM accounts) AS account_written_at
