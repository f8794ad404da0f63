-- of the GoogleSQL whose SHA-256 is aa0dcd38250389bfdff0506204f11ebce81069512a69dc8335238991fdcc4de3
SELECT
  external_id,
  day,
  CAST(DATE_TRUNC('WEEK', day) AS DATE) AS week,
  COUNT(*) AS events,
  COUNT(CASE WHEN type = 'Page' THEN 1 ELSE NULL END) AS pages,
  COUNT(CASE WHEN type = 'Screen' THEN 1 ELSE NULL END) AS screens,
  COUNT(CASE WHEN type = 'Action' THEN 1 ELSE NULL END) AS actions,
  COUNT(CASE WHEN channel = 'server' THEN 1 ELSE NULL END) AS server_events
FROM (
  SELECT
    COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id,
    CAST(event.timestamp AT TIME ZONE 'UTC' AS DATE) AS day,
    event.type,
    event.channel
  FROM events AS event
  LEFT JOIN identities AS identity
    ON identity.id = COALESCE(event.user_id, event.anonymous_id)
)
GROUP BY
  external_id,
  day
