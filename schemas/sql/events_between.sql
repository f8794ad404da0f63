-- The rows of events_resolved that happened from first_time on and before end_time, which may be texts with an offset. No
-- event is received more than a day before it happened, so nothing older is read; one may be received at any time after,
-- so all that is newer is.
SELECT *
FROM events_resolved
WHERE
  received_at >= TIMESTAMP_SUB(CAST(first_time AS TIMESTAMP), INTERVAL 24 HOUR)
  AND timestamp >= CAST(first_time AS TIMESTAMP)
  AND timestamp < CAST(end_time AS TIMESTAMP)
