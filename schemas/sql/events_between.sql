-- The rows of events_resolved that happened from first_time on and before end_time. No event is received more than a
-- day before it happened, so nothing older is read; one may be received at any time after, so all that is newer is.
SELECT *
FROM events_resolved
WHERE
  received_at >= TIMESTAMP_SUB(first_time, INTERVAL 1 DAY)
  AND timestamp >= first_time
  AND timestamp < end_time
