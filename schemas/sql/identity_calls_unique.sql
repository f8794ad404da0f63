-- The log of identity calls, each message_id once, as it came first.
SELECT call.*
FROM identity_calls AS call
LEFT JOIN (
  SELECT message_id, MIN(received_at) AS first_at
  FROM identity_calls
  GROUP BY message_id
  HAVING MIN(received_at) < MAX(received_at)
) AS copied ON copied.message_id = call.message_id
WHERE copied.message_id IS NULL OR copied.first_at = call.received_at
-- With type and received_at in the window, a filter on them reaches the scan.
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY call.message_id, call.received_at, call.type
    ORDER BY call.written_at
  ) = 1
