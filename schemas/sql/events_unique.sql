-- The events, each message_id once, as it came first. A warehouse that does not enforce keys may hold copies until
-- python -m schemas compact removes them: only this view looks for them, in every partition.
SELECT event.*
FROM events AS event
LEFT JOIN (
  SELECT message_id, MIN(received_at) AS first_at
  FROM events
  GROUP BY message_id
  HAVING MIN(received_at) < MAX(received_at)
) AS copied ON copied.message_id = event.message_id
WHERE copied.message_id IS NULL OR copied.first_at = event.received_at
-- With type, name and received_at in the window, a filter on them reaches the scan.
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY event.message_id, event.received_at, event.type, event.name
    ORDER BY event.timestamp
  ) = 1
