-- of the GoogleSQL whose SHA-256 is a34248753471ab14326d4fd394bcf071e92927e4e38ef2aee1d6234b71f31853
SELECT
  COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id,
  MIN(event.timestamp) AS first_event_at,
  MAX(event.timestamp) AS last_event_at,
  COUNT(*) AS events,
  COUNT(DISTINCT CAST(event.timestamp AT TIME ZONE 'UTC' AS DATE)) AS active_days
FROM events AS event
LEFT JOIN identities AS identity
  ON identity.id = COALESCE(event.user_id, event.anonymous_id)
GROUP BY
  COALESCE(identity.external_id, event.user_id, event.anonymous_id)
