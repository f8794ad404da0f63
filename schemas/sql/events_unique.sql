-- The events, each message_id once.
SELECT *
FROM events
-- Copies of a message have one received_at; with it in the window, a filter on received_at still prunes partitions.
QUALIFY ROW_NUMBER() OVER (PARTITION BY message_id, received_at ORDER BY timestamp) = 1
