-- Events and identity calls by the day on which they were received, and by type.
SELECT DATE(received_at) AS day, type, COUNT(*) AS calls
FROM events_unique
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
GROUP BY day, type
UNION ALL
SELECT DATE(received_at) AS day, type, COUNT(*) AS calls
FROM identity_calls_unique
WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
GROUP BY day, type
