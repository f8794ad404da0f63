-- When each person was active, by its events' timestamps.
SELECT
  COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id, -- the label of the contact that the events belong to now
  MIN(event.timestamp) AS first_event_at, -- timestamp of its first event
  MAX(event.timestamp) AS last_event_at, -- timestamp of its last event
  COUNT(*) AS events, -- how many events it has
  COUNT(DISTINCT DATE(event.timestamp, 'UTC')) AS active_days -- on how many days, in UTC
FROM events AS event
LEFT JOIN identities AS identity ON identity.id = COALESCE(event.user_id, event.anonymous_id)
GROUP BY COALESCE(identity.external_id, event.user_id, event.anonymous_id)
